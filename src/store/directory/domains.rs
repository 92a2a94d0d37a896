//! Which organizations have which e-mail domain: the part of the directory that leads somebody from their address to
//! organizations, and knows which domains are to be asked about again.

use std::collections::BTreeSet;

use rpds::RedBlackTreeMapSync;

use crate::clock::{DAY_SECONDS, Timestamp};
use crate::ids::StreamId;
use crate::varint::{self, Malformed, Reader};

/// How long after it was verified, or asked about, a domain is asked about again.
const AGAIN_SECONDS: i64 = DAY_SECONDS;

/// Domains of organizations: persistent, so that a save takes them as they are without keeping anybody waiting.
#[derive(Clone, Debug, Default)]
pub(super) struct Domains {
    streams: RedBlackTreeMapSync<(String, StreamId), ()>,
    known: RedBlackTreeMapSync<StreamId, Known>,
    /// When verified ones are asked about again. Memory only: a start asks about all whose day is over.
    next: BTreeSet<(Timestamp, StreamId)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    domain: String,
    verified_at: Option<Timestamp>,
    next: Option<Timestamp>,
}

impl Domains {
    /// An organization has this domain, which is not verified.
    pub(super) fn set(&mut self, stream: StreamId, domain: &str) {
        self.clear(stream);
        self.streams.insert_mut((domain.to_owned(), stream), ());
        let known = Known { domain: domain.to_owned(), verified_at: None, next: None };
        self.known.insert_mut(stream, known);
    }

    /// It has none.
    pub(super) fn clear(&mut self, stream: StreamId) {
        self.schedule(stream, None);
        if let Some(known) = self.known.get(&stream) {
            self.streams.remove_mut(&(known.domain.clone(), stream));
            self.known.remove_mut(&stream);
        }
    }

    /// DNS proved its domain then.
    pub(super) fn verified(&mut self, stream: StreamId, at: Timestamp) {
        if let Some(known) = self.known.get_mut(&stream) {
            known.verified_at = Some(at);
            self.schedule(stream, Some(at.plus_seconds(AGAIN_SECONDS)));
        }
    }

    /// Its domain is not verified any more.
    pub(super) fn lapsed(&mut self, stream: StreamId) {
        if let Some(known) = self.known.get_mut(&stream) {
            known.verified_at = None;
        }
        self.schedule(stream, None);
    }

    fn schedule(&mut self, stream: StreamId, next: Option<Timestamp>) {
        let Some(known) = self.known.get_mut(&stream) else { return };
        if let Some(before) = std::mem::replace(&mut known.next, next) {
            self.next.remove(&(before, stream));
        }
        self.next.extend(next.map(|next| (next, stream)));
    }

    /// The organizations that have a domain, by id: at most so many.
    pub(super) fn of(&self, domain: &str, limit: usize) -> Vec<StreamId> {
        let from = (domain.to_owned(), StreamId::Platform)..;
        let streams = self.streams.range(from).map(|(key, ())| key);
        streams.take_while(|(held, _)| held == domain).take(limit).map(|(_, stream)| *stream).collect()
    }

    /// Whether an organization has a domain.
    pub(super) fn has(&self, stream: StreamId, domain: &str) -> bool {
        self.known.get(&stream).is_some_and(|known| known.domain == domain)
    }

    /// The first ones to be asked about by now, which are then not to be before another day is over.
    pub(super) fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<StreamId> {
        let due = self.next.iter().take_while(|(at, _)| *at <= now).take(limit);
        let due: Vec<StreamId> = due.map(|(_, stream)| *stream).collect();
        for stream in &due {
            self.schedule(*stream, Some(now.plus_seconds(AGAIN_SECONDS)));
        }
        due
    }

    /// Whether both know the same of the same domains, whenever they are asked about again.
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let told = |domains: &Self| -> Vec<_> {
            let known = domains.known.iter();
            known.map(|(stream, known)| (*stream, known.domain.clone(), known.verified_at)).collect()
        };
        told(self) == told(other)
    }

    /// What a file holds of it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (stream, known) in &self.known {
            out.extend_from_slice(&stream.to_bytes());
            varint::write(known.verified_at.map_or(0, |at| at.micros().unsigned_abs()), &mut out);
            varint::write(known.domain.len() as u64, &mut out);
            out.extend_from_slice(known.domain.as_bytes());
        }
        out
    }

    /// Reads it back.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let mut domains = Self::default();
        while !reader.0.is_empty() {
            let stream = StreamId::from_bytes(reader.array()?);
            let verified_at = reader.varint()?;
            let length = reader.size()?;
            domains.set(stream, std::str::from_utf8(reader.bytes(length)?).map_err(|_| Malformed)?);
            if verified_at > 0 {
                let at = i64::try_from(verified_at).map_err(|_| Malformed)?;
                domains.verified(stream, Timestamp::from_micros(at));
            }
        }
        Ok(domains)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::given::{id, now};

    impl Domains {
        /// When the first is to be asked about again.
        fn first(&self) -> Option<Timestamp> {
            self.next.first().map(|(at, _)| *at)
        }
    }

    fn stream(number: u128) -> StreamId {
        StreamId::Organization(id(number))
    }

    fn after(seconds: i64) -> Timestamp {
        now().plus_seconds(seconds)
    }

    #[test]
    fn a_domain_leads_to_all_that_have_it_and_to_nobody_else() {
        let mut domains = Domains::default();
        for (number, domain) in
            [(1, "example.com"), (2, "example.com"), (3, "example.co"), (4, "example.org")]
        {
            domains.set(stream(number), domain);
        }
        assert_eq!(domains.of("example.com", 9), [stream(1), stream(2)]);
        assert_eq!(domains.of("example.com", 1), [stream(1)]);
        assert_eq!(domains.of("example", 9), []);
        domains.set(stream(1), "example.org");
        domains.clear(stream(4));
        assert_eq!(domains.of("example.com", 9), [stream(2)]);
        assert_eq!(domains.of("example.org", 9), [stream(1)]);
        assert!(domains.has(stream(1), "example.org") && !domains.has(stream(1), "example.com"));
        assert!(!domains.has(stream(4), "example.org"));
    }

    #[test]
    fn a_verified_domain_is_asked_about_once_a_day() {
        let mut domains = Domains::default();
        domains.set(stream(1), "example.com");
        assert_eq!(domains.first(), None);
        domains.verified(stream(1), now());
        assert_eq!(domains.first(), Some(after(AGAIN_SECONDS)));
        assert_eq!(domains.take_due(after(AGAIN_SECONDS - 1), 9), []);
        assert_eq!(domains.take_due(after(AGAIN_SECONDS), 0), []);
        assert_eq!(domains.take_due(after(AGAIN_SECONDS), 9), [stream(1)]);
        assert_eq!(domains.take_due(after(AGAIN_SECONDS), 9), []);
        assert_eq!(domains.first(), Some(after(2 * AGAIN_SECONDS)));
        for end in [Domains::lapsed, Domains::clear] {
            let mut ended = domains.clone();
            end(&mut ended, stream(1));
            assert_eq!(ended.first(), None);
        }
        domains.set(stream(1), "example.org");
        assert_eq!(domains.first(), None);
    }

    #[test]
    fn what_is_saved_is_what_it_was() {
        let mut domains = Domains::default();
        domains.set(stream(1), "example.com");
        domains.set(stream(2), "example.org");
        domains.verified(stream(2), now());
        let whole = domains.encode();
        let read = Domains::decode(&whole).unwrap();
        assert!(read.agrees_with(&domains));
        assert_eq!((read.first(), read.of("example.com", 9)), (domains.first(), vec![stream(1)]));
        assert!(Domains::decode(&whole[..whole.len() - 1]).is_err());
        domains.take_due(after(AGAIN_SECONDS), 9);
        assert!(read.agrees_with(&domains), "when it is asked again is no difference");
        domains.lapsed(stream(2));
        assert!(!read.agrees_with(&domains));
    }
}
