//! Chance that repeats itself: a small generator (SplitMix64), and words, text and bytes made with it.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Words that texts are made of. Short and common, so that text compresses as real configuration does.
const WORDS: [&str; 48] = [
    "account", "agent", "batch", "billing", "cache", "cart", "catalog", "checkout", "config", "customer", "default",
    "delivery", "enabled", "endpoint", "events", "export", "feature", "gateway", "health", "import", "index",
    "invoice", "ledger", "limit", "listen", "logging", "mail", "metrics", "orders", "payment", "policy", "price",
    "proxy", "queue", "reader", "refund", "report", "retry", "search", "session", "shipping", "stock", "storage",
    "timeout", "token", "upstream", "worker", "writer",
];

/// One object's source of chance.
pub(super) struct Random(u64);

impl Random {
    /// The source of the object `number` under `seed`.
    pub(super) fn new(seed: u64, number: u64) -> Self {
        let mut random = Self(seed ^ number.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `limit` - 1.
    pub(super) fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.next() % u64::from(limit)).expect("a remainder of a u32 fits a u32")
    }

    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let limit = u32::try_from(choices.len()).expect("choices are few");
        choices[self.below(limit) as usize]
    }

    pub(super) fn word(&mut self) -> &'static str {
        self.pick(&WORDS)
    }

    /// Words with blanks between them, at least `bytes` long.
    pub(super) fn text(&mut self, bytes: usize) -> String {
        let mut text = String::with_capacity(bytes + 16);
        while text.len() < bytes {
            text.push_str(self.word());
            text.push(' ');
        }
        text.pop();
        text
    }

    /// Base64 of so many random bytes.
    pub(super) fn base64(&mut self, bytes: usize) -> String {
        let bytes: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(bytes).collect();
        STANDARD.encode(bytes)
    }

    /// So many hexadecimal digits, at most 16.
    pub(super) fn hex(&mut self, digits: usize) -> String {
        format!("{:016x}", self.next())[..digits].to_owned()
    }
}
