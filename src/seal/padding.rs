//! Padding: how long a sealed value is shows next to nothing of how long the value is.
//!
//! Padded is length ‖ value ‖ zeros: 32, 64, 128 … 4,096 bytes, then steps of 4 KiB. The length is four
//! bytes, big-endian.

use zeroize::Zeroizing;

const LENGTH_BYTES: usize = 4;
const SMALLEST_BYTES: usize = 32;
const STEP_BYTES: usize = 4096;

/// The bytes that a value of `length` bytes is padded to.
fn padded_length(length: usize) -> usize {
    let needed = LENGTH_BYTES + length;
    if needed <= STEP_BYTES {
        needed.next_power_of_two().max(SMALLEST_BYTES)
    } else {
        needed.next_multiple_of(STEP_BYTES)
    }
}

/// length ‖ value ‖ zeros.
pub(super) fn pad(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = u32::try_from(value.len()).expect("a value fits into a frame, which is under 1 MiB");
    // Allocated once at its full size: growing would leave plaintext in freed memory.
    let mut padded = Zeroizing::new(Vec::with_capacity(padded_length(value.len())));
    padded.extend_from_slice(&length.to_be_bytes());
    padded.extend_from_slice(value);
    padded.resize(padded_length(value.len()), 0);
    padded
}

/// The value, in the buffer that it came in; `None` if the length or the zeros are not what [`pad`] writes.
pub(super) fn unpad(mut padded: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
    let (length, rest) = padded.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let zeros = rest.get(length..)?;
    if padded.len() != padded_length(length) || zeros.iter().any(|byte| *byte != 0) {
        return None;
    }
    padded.copy_within(LENGTH_BYTES..LENGTH_BYTES + length, 0);
    padded.truncate(length);
    Some(padded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_go_in_powers_of_two_and_then_in_steps() {
        for (length, padded) in [
            (0, 32),
            (1, 32),
            (28, 32),
            (29, 64),
            (60, 64),
            (61, 128),
            (2044, 2048),
            (2045, 4096),
            (4092, 4096),
            (4093, 8192),
            (8188, 8192),
            (8189, 12288),
        ] {
            assert_eq!(pad(&vec![7; length]).len(), padded, "{length}");
        }
    }

    #[test]
    fn what_was_padded_comes_back() {
        for length in (0..200).chain([4091, 4092, 4093, 10_000]) {
            let value = vec![7; length];
            assert_eq!(*unpad(pad(&value)).expect("as padded"), value);
        }
    }

    #[test]
    fn a_wrong_length_or_a_byte_in_the_padding_is_refused() {
        let longer_than_there_is = Zeroizing::new([&29_u32.to_be_bytes()[..], &[0; 28]].concat());
        assert!(unpad(longer_than_there_is).is_none());
        let in_too_large_a_buffer = Zeroizing::new([&1_u32.to_be_bytes()[..], &[0; 60]].concat());
        assert!(unpad(in_too_large_a_buffer).is_none());
        let mut not_zero = pad(b"value");
        not_zero[31] = 1;
        assert!(unpad(not_zero).is_none());
        assert!(unpad(Zeroizing::new(vec![0; 3])).is_none());
        assert!(unpad(Zeroizing::new(Vec::new())).is_none());
    }
}
