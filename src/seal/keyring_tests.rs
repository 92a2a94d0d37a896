//! What the key ring promises, over a folder and a log that keeps only keys.
