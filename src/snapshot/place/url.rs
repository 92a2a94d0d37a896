//! How snapshots and the places where they lie are named on a command line: a path, or `s3://BUCKET/PREFIX`.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Located, UnusableBucket, bucket};

const SCHEME: &str = "s3://";

/// A bucket, and what all names there begin with: `s3://BUCKET` or `s3://BUCKET/PREFIX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketUrl {
    /// The bucket.
    pub bucket: String,
    /// What all names there begin with, without slashes at its ends; may be empty.
    pub prefix: String,
}

impl FromStr for BucketUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected s3://BUCKET or s3://BUCKET/PREFIX, of letters, digits, `.`, `-`, `_` and `/`";
        let rest = text.strip_prefix(SCHEME).ok_or(EXPECTED)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_name = |name: &str| {
            !name.is_empty()
                && !matches!(name, "." | "..")
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        if is_name(bucket) && (prefix.is_empty() || prefix.split('/').all(is_name)) {
            Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
        } else {
            Err(EXPECTED)
        }
    }
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// A file of a snapshot as somebody names it: a path, or `s3://BUCKET/…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileName {
    /// A file.
    Path(PathBuf),
    /// An object, and its bucket and prefix.
    Object(BucketUrl, String),
}

impl FromStr for FileName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let object = || {
            let (place, name) = text.rsplit_once('/')?;
            Some(Self::Object(place.parse().ok()?, name.to_owned()))
        };
        Ok(object().unwrap_or_else(|| Self::Path(text.into())))
    }
}

impl FileName {
    /// The file. What a bucket needs beside it is noted in a folder.
    ///
    /// # Errors
    /// When its bucket cannot be used.
    pub fn locate(&self, notes: &Path) -> Result<Located, UnusableBucket> {
        match self {
            Self::Path(path) => Ok(Located::from(&**path)),
            Self::Object(url, name) => Ok(Located::new(&bucket(url, notes)?, name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_and_its_prefix_are_read_and_shown() {
        for (text, bucket, prefix) in [
            ("s3://settled", "settled", ""),
            ("s3://settled/prod", "settled", "prod"),
            ("s3://a.b-c/x/y_z", "a.b-c", "x/y_z"),
        ] {
            let url: BucketUrl = text.parse().expect("a URL");
            assert_eq!((&*url.bucket, &*url.prefix, &*url.to_string()), (bucket, prefix, text));
            assert_eq!(Ok(url), format!("{text}/").parse());
        }
        for text in [
            "settled",
            "s3://",
            "s3:///x",
            "s3://a//b",
            "s3://a/../b",
            "s3://a/b c",
            "https://a",
            "s3://k:s@a",
        ] {
            text.parse::<BucketUrl>().expect_err(text);
        }
    }

    #[test]
    fn a_file_is_a_path_or_an_object() {
        let url = "s3://settled/prod".parse().expect("a URL");
        let of = |text: &str| text.parse::<FileName>().expect("anything is a name");
        assert_eq!(of("s3://settled/prod/a.settled"), FileName::Object(url, "a.settled".to_owned()));
        for path in ["a.settled", "/s/a.settled", "./s3:/a.settled"] {
            assert_eq!(of(path), FileName::Path(path.into()));
        }
    }
}
