//! Evidence: the log that the tests attack, freeze and hand to others. Never checks anything.

use std::borrow::Cow;

use data_encoding::BASE64;
use quell_evidence::checkpoint::Checkpoint;
use quell_evidence::digest::{self, sha256};
use quell_evidence::leaf::{Body, FIRST_PREV, Header, Record};
use quell_evidence::merkle::Appender;
use quell_evidence::note::SignerKey;
use quell_evidence::{Hash, bundle, canonical};
use serde_json::{Value, json};

pub(crate) const ORIGIN: &str = "example.com/log";
pub(crate) const TENANT: &str = "default";

/// One tenant's log: what was recorded, and the key that signs for it.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) records: Vec<Record<'static>>,
    pub(crate) key: SignerKey,
}

impl Log {
    /// A log of `size` records.
    pub(crate) fn of(size: u64) -> Self {
        let mut log = Self { records: Vec::new(), key: signer() };
        (0..size).for_each(|number| log.push(&body(number)));
        log
    }

    /// Records one more body as the store would.
    pub(crate) fn push(&mut self, body: &Value) {
        let seq = u64::try_from(self.records.len()).unwrap();
        let prev = self.records.last().map_or(FIRST_PREV, Record::leaf_hash);
        let at = format!("2026-03-01T08:15:{:02}.{:06}Z", seq % 60, seq);
        let header = Header::new(TENANT, seq, "order_verified", at, prev).unwrap();
        let salt = sha256(format!("salt {seq}").as_bytes());
        let bytes = Cow::Owned(canonical::encode(body).unwrap());
        self.records.push(Record { header, body: Body::Kept { salt, bytes } });
    }

    /// Erases the body of one record.
    pub(crate) fn erase(&mut self, index: usize) {
        let digest = self.records[index].body.digest();
        self.records[index].body = Body::Erased { digest };
    }

    /// Gives every record the number, and the hash of its forerunner, that its place demands,
    /// as someone would who holds the key and hides a change.
    pub(crate) fn chain_anew(&mut self) {
        let old = std::mem::take(&mut self.records);
        let mut prev = FIRST_PREV;
        for (seq, record) in (0..).zip(old) {
            let header = record.header;
            let (kind, at) = (header.record_type().to_owned(), header.at().to_owned());
            let header = Header::new(TENANT, seq, kind, at, prev).unwrap();
            let record = Record { header, body: record.body };
            prev = record.leaf_hash();
            self.records.push(record);
        }
    }

    pub(crate) fn leaf_hashes(&self) -> Vec<Hash> {
        self.records.iter().map(Record::leaf_hash).collect()
    }

    /// The signed checkpoint over the first `size` records.
    pub(crate) fn checkpoint(&self, size: usize) -> String {
        let mut tree = Appender::new();
        self.leaf_hashes().iter().take(size).for_each(|hash| tree.append(*hash));
        let checkpoint = Checkpoint::new(ORIGIN, tree.size(), tree.root()).unwrap();
        checkpoint.sign(&self.key).unwrap().to_text()
    }

    /// The signed checkpoint over all records.
    pub(crate) fn head(&self) -> String {
        self.checkpoint(self.records.len())
    }

    /// The bundle that an honest export writes.
    pub(crate) fn bundle(&self) -> Vec<u8> {
        let records = self.records.iter().cloned();
        bundle::write(self.head().as_bytes(), self.key.verifier(), TENANT, records).unwrap()
    }

    /// A bundle of these records under any checkpoint, whether they belong together or not.
    pub(crate) fn forge(&self, checkpoint: &str) -> Vec<u8> {
        let mut lines = vec![json!({
            "checkpoint": checkpoint,
            "format": bundle::FORMAT,
            "key": self.key.verifier().short(),
            "origin": ORIGIN,
            "records": checkpoint.lines().nth(1).unwrap().parse::<u64>().unwrap(),
            "tenant": TENANT,
        })];
        for (index, record) in (0_u64..).zip(&self.records) {
            lines.push(line(index, record));
        }
        seal(&lines)
    }
}

/// The key of the tests, made from bytes that no log may use.
pub(crate) fn signer() -> SignerKey {
    SignerKey::from_seed(ORIGIN, &[7; 32]).unwrap()
}

/// The body of a record, with what a real one may hold.
pub(crate) fn body(number: u64) -> Value {
    json!({
        "order": format!("ord_{number:026}"),
        "identity": {"mail": "maria.example@example.com", "directory": number},
        "result": ["verified", null, true, -7],
        "text": "\u{201e}Gr\u{fc}\u{df}e\u{201c}\n\t\u{1f600} \"quoted\" \\ \u{7}",
    })
}

/// One record as a line of a bundle.
pub(crate) fn line(index: u64, record: &Record<'_>) -> Value {
    let mut leaf = Vec::new();
    record.header.encode_leaf(&record.body.digest(), &mut leaf);
    let mut line = json!({"index": index, "leaf": parse(&leaf)});
    if let Body::Kept { salt, bytes } = &record.body {
        line["salt"] = json!(BASE64.encode(salt));
        line["body"] = parse(bytes);
    }
    line
}

/// Joins lines and puts the digest below them.
pub(crate) fn seal(lines: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        out.extend(canonical::encode(line).unwrap());
        out.push(b'\n');
    }
    reseal(&out)
}

/// Puts the digest below bytes that lack one.
pub(crate) fn reseal(before: &[u8]) -> Vec<u8> {
    let last = format!("{}\n", digest::show(&sha256(before)));
    [before, last.as_bytes()].concat()
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}
