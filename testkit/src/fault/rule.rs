//! Which request meets which fault. Pure: the proxy asks, and does what it is told.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

/// A request that reached the proxy.
#[derive(Debug, Clone)]
pub struct SeenRequest {
    /// Its method.
    pub method: Method,
    /// Its path, without the query.
    pub path: String,
    /// Its query, without the question mark, as sent; empty when there is none.
    pub query: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// The fault it met.
    pub effect: Option<Effect>,
}

impl SeenRequest {
    /// The first value of a query parameter, as sent (not percent-decoded).
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// What happens to a request that a rule takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// 429 with `Retry-After` in whole seconds, as plain text: so a busy API server answers. Not passed on.
    TooManyRequests {
        /// Rounded up to seconds.
        retry_after: Duration,
    },
    /// 410 with the reason `Expired`. Not passed on.
    Expired {
        /// Adds the token by which the list may be continued at the present state of the cluster, made from the request's
        /// own `continue` as the API server makes it. A request without one gets none.
        inconsistent_continue: bool,
    },
    /// This status with a Kubernetes `Status` object as body. Not passed on.
    Status(u16),
    /// This answer as it is. Not passed on.
    Answer {
        /// Status code.
        status: u16,
        /// Value of `Content-Type`.
        content_type: String,
        /// The body.
        body: String,
    },
    /// The real answer until so many bytes of its body, then the connection closes. Asks the server for an uncompressed
    /// body, so that the bytes are those of the JSON.
    CutBody {
        /// Bytes of the body that pass.
        after: usize,
    },
    /// As `CutBody`, but the connection stays open and silent.
    StallBody {
        /// Bytes of the body that pass.
        after: usize,
    },
    /// The real answer with only so many bytes of its body and a `Content-Length` that says so: valid HTTP, broken JSON.
    TruncateBody {
        /// Bytes of the body that are left.
        to: usize,
    },
    /// The request goes on to the server until so many bytes of its body, then both connections break.
    CutUpload {
        /// Bytes of the body that pass.
        after: usize,
    },
    /// Passed on without this header, as if the client had never sent it.
    ForgetHeader(&'static str),
    /// Passed on after this time.
    Delay(Duration),
    /// The connection is reset without an answer. Not passed on.
    Reset,
    /// Passed on, but the connection is reset in place of the answer: the effect has happened, and the client does not know.
    LoseAnswer,
    /// No answer for ever. Not passed on.
    Hang,
}

type Matcher = Box<dyn Fn(&SeenRequest) -> bool + Send + Sync>;

/// The beginning of a rule: which requests, and which of them in order. [`PendingFault::then`] completes it.
pub struct PendingFault {
    matcher: Matcher,
    turn: Turn,
}

/// A rule of a [`crate::FaultProxy`].
pub struct Fault {
    matcher: Matcher,
    turn: Turn,
    effect: Effect,
    seen: usize,
}

/// Which of the matching requests, counted from 1.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Always,
    Only(usize),
    First(usize),
}

impl Fault {
    /// A rule for the requests for which `matcher` is true; for all of them unless said otherwise.
    pub fn on(matcher: impl Fn(&SeenRequest) -> bool + Send + Sync + 'static) -> PendingFault {
        PendingFault { matcher: Box::new(matcher), turn: Turn::Always }
    }

    /// A rule for the requests of exactly this path, whatever their query and method.
    pub fn on_path(path: impl Into<String>) -> PendingFault {
        let path = path.into();
        Self::on(move |request| request.path == path)
    }

    /// Counts the request if it matches, and says whether this is the rule's turn.
    fn fires(&mut self, request: &SeenRequest) -> bool {
        if !(self.matcher)(request) {
            return false;
        }
        self.seen += 1;
        match self.turn {
            Turn::Always => true,
            Turn::Only(turn) => self.seen == turn,
            Turn::First(turns) => self.seen <= turns,
        }
    }
}

impl PendingFault {
    /// Only the `n`-th matching request, counted from 1.
    pub fn nth(mut self, n: usize) -> Self {
        self.turn = Turn::Only(n);
        self
    }

    /// Only the first `n` matching requests.
    pub fn times(mut self, n: usize) -> Self {
        self.turn = Turn::First(n);
        self
    }

    /// Every matching request.
    pub fn always(mut self) -> Self {
        self.turn = Turn::Always;
        self
    }

    /// What happens to them.
    pub fn then(self, effect: Effect) -> Fault {
        let Self { matcher, turn } = self;
        Fault { matcher, turn, effect, seen: 0 }
    }
}

/// The rules of one proxy, in the order they were added.
#[derive(Default)]
pub(super) struct Rules(Vec<Fault>);

impl Rules {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that this request meets. Every rule counts the request, the first that fires decides.
    pub(super) fn decide(&mut self, request: &SeenRequest) -> Option<Effect> {
        let mut decided = None;
        for rule in &mut self.0 {
            if rule.fires(request) && decided.is_none() {
                decided = Some(rule.effect.clone());
            }
        }
        decided
    }
}

/// An answer made by the proxy itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MadeAnswer {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) retry_after: Option<u64>,
    pub(super) body: String,
}

/// The answer to `request` where the effect needs no server.
pub(super) fn made_answer(effect: &Effect, request: &SeenRequest) -> Option<MadeAnswer> {
    let kubernetes = |status: &Value| MadeAnswer {
        status: status["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500),
        content_type: "application/json".to_owned(),
        retry_after: None,
        body: status.to_string(),
    };
    match effect {
        Effect::TooManyRequests { retry_after } => Some(MadeAnswer {
            status: 429,
            content_type: "text/plain; charset=utf-8".to_owned(),
            retry_after: Some(retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0)),
            body: "testkit: too many requests\n".to_owned(),
        }),
        Effect::Expired { inconsistent_continue } => {
            let token = request.parameter("continue").filter(|_| *inconsistent_continue).and_then(inconsistent);
            Some(kubernetes(&status_object(410, "Expired", token)))
        }
        Effect::Status(code) => Some(kubernetes(&status_object(*code, reason(*code), None))),
        Effect::Answer { status, content_type, body } => Some(MadeAnswer {
            status: *status,
            content_type: content_type.clone(),
            retry_after: None,
            body: body.clone(),
        }),
        _ => None,
    }
}

/// A failure as the API server writes it (`metav1.Status`).
fn status_object(code: u16, reason: &str, token: Option<String>) -> Value {
    let metadata = token.map_or_else(|| json!({}), |token| json!({ "continue": token }));
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure",
        "message": format!("testkit: {}", StatusCode::from_u16(code).map_or("", |code| code.canonical_reason().unwrap_or(""))),
        "reason": reason, "code": code,
    })
}

/// The API server's name for what a status code means.
fn reason(code: u16) -> &'static str {
    match code {
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    }
}

/// The token that goes on after the same object at no particular resourceVersion. A token is base64 of JSON with the
/// version in `rv`; -1 means none (observed on 1.34).
fn inconsistent(token: &str) -> Option<String> {
    let token = URL_SAFE_NO_PAD.decode(token.trim_end_matches("%3D").trim_end_matches('=')).ok()?;
    let mut token: Value = serde_json::from_slice(&token).ok()?;
    token["rv"] = (-1).into();
    Some(URL_SAFE_NO_PAD.encode(token.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, query: &str) -> SeenRequest {
        let (path, query) = (path.to_owned(), query.to_owned());
        SeenRequest { method: Method::GET, path, query, headers: HeaderMap::new(), effect: None }
    }

    fn hits(fault: PendingFault) -> Vec<bool> {
        let mut rules = Rules::default();
        rules.add(fault.then(Effect::Hang));
        (0..4).map(|_| rules.decide(&request("/a", "")).is_some()).collect()
    }

    #[test]
    fn turns_are_counted_from_one() {
        assert_eq!(hits(Fault::on_path("/a").nth(2)), [false, true, false, false]);
        assert_eq!(hits(Fault::on_path("/a").times(3)), [true, true, true, false]);
        assert_eq!(hits(Fault::on_path("/a")), [true; 4]);
        assert_eq!(hits(Fault::on_path("/b")), [false; 4]);
    }

    #[test]
    fn the_first_rule_decides_and_every_rule_counts() {
        let mut rules = Rules::default();
        rules.add(Fault::on_path("/a").nth(1).then(Effect::Reset));
        rules.add(Fault::on_path("/a").nth(2).then(Effect::Hang));
        rules.add(Fault::on_path("/a").times(2).then(Effect::Status(500)));
        let decided: Vec<_> = (0..3).map(|_| rules.decide(&request("/a", ""))).collect();
        assert_eq!(decided, [Some(Effect::Reset), Some(Effect::Hang), None]);
    }

    #[test]
    fn parameters_are_found_by_their_whole_name() {
        let request = request("/a", "limit=500&xcontinue=1&continue=abc");
        assert_eq!(request.parameter("continue"), Some("abc"));
        assert_eq!(request.parameter("mit"), None);
    }

    #[test]
    fn retry_after_is_rounded_up_to_seconds() {
        let effect = Effect::TooManyRequests { retry_after: Duration::from_millis(1200) };
        assert_eq!(made_answer(&effect, &request("/a", "")).unwrap().retry_after, Some(2));
    }
}
