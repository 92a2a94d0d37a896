//! What sealing promises: only the right key opens a value, only in the place that it was sealed for.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn data_key(byte: u8) -> DataKey {
    let material = KeyMaterial::copied(&[byte; 64]).expect("64 bytes");
    DataKey::new(DataKeyId::from_uuid(Uuid::from_u128(u128::from(byte))), material)
}

const FIELD: SealedField<'_> = SealedField {
    stream: StreamId::Platform,
    resource_type: ResourceType::Account,
    resource_id: "acc_1",
    field: "email",
};

#[test]
fn a_sealed_value_opens_where_it_was_sealed() {
    let key = data_key(1);
    let sealed = key.seal(&FIELD, &Plain::from("asha@example.com"));
    assert_eq!(key.open(&FIELD, &sealed), Ok(Plain::from("asha@example.com")));
}

#[test]
fn changing_any_single_header_makes_it_not_open() {
    let key = data_key(1);
    let sealed = key.seal(&FIELD, &Plain::from("asha@example.com"));
    let moved = [
        SealedField { stream: StreamId::Organization(crate::ids::Fresh.id()), ..FIELD },
        SealedField { resource_type: ResourceType::Person, ..FIELD },
        SealedField { resource_id: "acc_2", ..FIELD },
        SealedField { field: "name", ..FIELD },
        SealedField { resource_id: "acc_1e", field: "mail", ..FIELD },
    ];
    for field in moved {
        assert_eq!(key.open(&field, &sealed), Err(OpenError::NotAuthentic { key: key.id() }), "{field:?}");
    }
    let renamed = DataKey::new(DataKeyId::from_uuid(Uuid::from_u128(2)), key.material.clone());
    let relabelled = Sealed { key: renamed.id(), ..sealed.clone() };
    assert_eq!(renamed.open(&FIELD, &relabelled), Err(OpenError::NotAuthentic { key: renamed.id() }));
    assert_eq!(
        renamed.open(&FIELD, &sealed),
        Err(OpenError::OtherKey { named: key.id(), given: renamed.id() })
    );
    let other = DataKey::new(key.id(), KeyMaterial::random());
    assert_eq!(other.open(&FIELD, &sealed), Err(OpenError::NotAuthentic { key: key.id() }));
}

#[test]
fn every_flipped_bit_and_every_cut_makes_it_not_open() {
    let key = data_key(1);
    let sealed = key.seal(&FIELD, &Plain::from("asha@example.com"));
    for bit in 0..sealed.data.0.len() * 8 {
        let mut changed = sealed.clone();
        changed.data.0[bit / 8] ^= 1 << (bit % 8);
        assert!(key.open(&FIELD, &changed).is_err(), "bit {bit}");
    }
    for length in 0..sealed.data.0.len() {
        let cut = Sealed { data: SealedBytes(sealed.data.0[..length].into()), ..sealed.clone() };
        assert!(key.open(&FIELD, &cut).is_err(), "{length} bytes");
    }
}

#[test]
fn an_unknown_format_is_named() {
    let key = data_key(1);
    let mut sealed = key.seal(&FIELD, &Plain::from("asha@example.com"));
    sealed.data.0[0] = 9;
    assert_eq!(key.open(&FIELD, &sealed), Err(OpenError::UnknownFormat { key: key.id(), format: 9 }));
}

#[test]
fn authentic_but_badly_padded_is_refused() {
    let key = data_key(1);
    let nonce = [0; NONCE_BYTES];
    let ciphertext = key.with_headers(&nonce, &FIELD, |headers| key.material.encrypt(headers, &[7; 32]));
    let data = [&[FORMAT], &nonce[..], &ciphertext].concat().into_boxed_slice();
    let sealed = Sealed { key: key.id(), data: SealedBytes(data) };
    assert_eq!(key.open(&FIELD, &sealed), Err(OpenError::Padding { key: key.id() }));
}

#[test]
fn equal_values_never_look_equal() {
    let key = data_key(1);
    let plain = Plain::from("asha@example.com");
    let blocks: std::collections::HashSet<Vec<u8>> = (0..200)
        .flat_map(|_| key.seal(&FIELD, &plain).data.0[1..].chunks(16).map(<[u8]>::to_vec).collect::<Vec<_>>())
        .collect();
    assert_eq!(blocks.len(), 200 * 4, "nonce, tag and both blocks are all different");
}

#[test]
fn short_values_all_have_the_same_length() {
    let key = data_key(1);
    for length in 0..=28 {
        let plain = Plain::from(vec![b'a'; length]);
        assert_eq!(key.seal(&FIELD, &plain).data.0.len(), 1 + 16 + 16 + 32, "{length}");
    }
}

#[test]
fn a_commitment_is_to_one_key() {
    assert_eq!(data_key(1).commitment(), data_key(1).commitment());
    assert_ne!(data_key(1).commitment(), data_key(2).commitment());
}

#[test]
fn a_fingerprint_tells_keys_labels_and_the_borders_of_items_apart() {
    let key = data_key(1);
    let fingerprint = key.fingerprint("request", &[b"ab", b"c"]);
    assert_eq!(fingerprint, data_key(1).fingerprint("request", &[b"ab", b"c"]));
    let others = [
        key.fingerprint("request", &[b"a", b"bc"]),
        key.fingerprint("request", &[b"abc"]),
        key.fingerprint("request", &[b"ab", b"c", b""]),
        key.fingerprint("body", &[b"ab", b"c"]),
        data_key(2).fingerprint("request", &[b"ab", b"c"]),
    ];
    for other in others {
        assert_ne!(other, fingerprint);
    }
    assert_ne!(*key.subkey("request"), *key.subkey("body"));
}

#[test]
fn debug_shows_neither_plaintext_nor_key() {
    let key = data_key(0x41);
    let plain = Plain::from("canary");
    let sealed = key.seal(&FIELD, &plain);
    let shown = format!("{plain:?} {key:?} {:?} {sealed:?}", key.material);
    assert_eq!(shown, format!("Plain DataKey({id}) KeyMaterial Sealed({id})", id = key.id()));
}

#[test]
fn plaintext_takes_over_the_buffer_of_its_text() {
    let text = String::from("canary");
    let before = text.as_ptr();
    assert_eq!(Plain::from(text).as_bytes().as_ptr(), before);
}

#[test]
fn bytes_that_are_no_text_say_so() {
    assert_eq!(Plain::from(&[0xff_u8][..]).as_str(), Err(NotText));
    assert_eq!(Plain::from("é").as_str(), Ok("é"));
}

/// What is on disk for ever: each record must open, and its plaintext seal to the same bytes under its nonce. The
/// records were made by another implementation (OpenSSL's AES-256-SIV, with the headers put together in Python).
#[test]
fn the_golden_records_open_and_seal_to_the_same_bytes() {
    #[derive(Deserialize)]
    struct Golden {
        key_bytes: SealedBytes,
        stream: StreamId,
        resource_type: ResourceType,
        resource_id: String,
        field: String,
        plaintext: String,
        sealed: Sealed,
        commitment: Commitment,
        fingerprint: SealedBytes,
    }
    let golden: Vec<Golden> =
        serde_json::from_str(include_str!("../../tests/golden/sealed.json")).expect("well-formed");
    assert!(golden.len() >= 5);
    for record in golden {
        let material = KeyMaterial::copied(&record.key_bytes.0).expect("64 bytes");
        let key = DataKey::new(record.sealed.key, material);
        let field = SealedField {
            stream: record.stream,
            resource_type: record.resource_type,
            resource_id: &record.resource_id,
            field: &record.field,
        };
        let plain = Plain::from(record.plaintext);
        assert_eq!(key.open(&field, &record.sealed), Ok(plain.clone()));
        let nonce = record.sealed.data.0[1..=NONCE_BYTES].try_into().expect("16 bytes");
        assert_eq!(key.seal_with(nonce, &field, &plain), record.sealed);
        assert_eq!(key.commitment(), record.commitment);
        let items = [field.field.as_bytes(), plain.as_bytes()];
        assert_eq!(key.fingerprint("golden", &items)[..], record.fingerprint.0[..]);
    }
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_again(
        value in proptest::collection::vec(any::<u8>(), 0..9_000),
        resource_id in "\\PC{0,40}",
        field in "\\PC{0,40}",
    ) {
        let key = data_key(1);
        let field = SealedField { resource_id: &resource_id, field: &field, ..FIELD };
        let plain = Plain::from(value);
        let sealed = key.seal(&field, &plain);
        let text = serde_json::to_string(&sealed).expect("a string and a string");
        let again: Sealed = serde_json::from_str(&text).expect("as written");
        prop_assert_eq!(key.open(&field, &again), Ok(plain));
    }
}

/// Computed with Python's `hmac` from the formula alone: whoever has the key finds by it for ever what was recorded.
#[test]
fn a_blind_id_is_the_same_for_ever_and_another_under_another_key_or_label() {
    let key = data_key(1);
    assert_eq!(key.blind_id("document", "profile"), "6FKO9PztL28iAIoKAoDw1A");
    assert_eq!(key.blind_id("workflow", "crm/sync"), "Ekwy9qoor9c3Oz3LvsHkxw");
    let others = [key.blind_id("workflow", "profile"), data_key(2).blind_id("document", "profile")];
    for other in others {
        assert_ne!(other, key.blind_id("document", "profile"));
    }
}
