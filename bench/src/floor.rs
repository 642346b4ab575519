//! The floor: the same collections listed as fast as a client can, and every byte thrown away.
//!
//! The same HTTP client, pages of the same size and as many lists at once as a dump has. Nothing is parsed but the token of
//! the next page. What a backup takes beyond this is our own doing.

use std::error::Error;

use dumper::discovery::{self, Collection};
use futures::{StreamExt, TryStreamExt, stream};
use http_body_util::BodyExt;
use kube::client::Body;

/// What a run read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Total {
    /// Collections.
    pub(crate) kinds: usize,
    /// Bytes of JSON.
    pub(crate) bytes: usize,
}

/// Lists everything with `concurrency` lists at once.
pub(crate) async fn run(client: &kube::Client, concurrency: usize, page_objects: u32) -> Result<Total, Box<dyn Error>> {
    let mut groups = Vec::new();
    for root in ["/api", "/apis"] {
        let body = get(client, root, discovery::ACCEPT_AGGREGATED).await?;
        groups.extend(discovery::aggregated_groups(&body)?.ok_or("no aggregated discovery")?);
    }
    let collections = discovery::select(groups).collections;
    let lists = collections.iter().map(|collection| list(client, collection, page_objects));
    let sizes: Vec<usize> = stream::iter(lists.collect::<Vec<_>>()).buffer_unordered(concurrency).try_collect().await?;
    Ok(Total { kinds: sizes.len(), bytes: sizes.iter().sum() })
}

async fn list(client: &kube::Client, collection: &Collection, page_objects: u32) -> Result<usize, Box<dyn Error>> {
    let (mut bytes, mut token) = (0, String::new());
    loop {
        let page = if token.is_empty() { String::new() } else { format!("&continue={token}") };
        let path = format!("{}?limit={page_objects}{page}", collection.path(None));
        let body = get(client, &path, "application/json").await?;
        bytes += body.len();
        match next(&body) {
            Some(next) => token = next.to_owned(),
            None => return Ok(bytes),
        }
    }
}

/// The token of the next page: near the beginning for built-in kinds, near the end for custom ones. Within a JSON string
/// the key's quotes would be escaped, so it cannot be mistaken for one.
fn next(body: &[u8]) -> Option<&str> {
    const KEY: &[u8] = b"\"continue\":\"";
    const WINDOW: usize = 2000;
    let head = &body[..body.len().min(WINDOW)];
    let tail = &body[body.len().saturating_sub(WINDOW)..];
    let from = |bytes: &[u8]| bytes.windows(KEY.len()).rposition(|part| part == KEY).map(|at| at + KEY.len());
    let rest = from(head).map(|at| &head[at..]).or_else(|| from(tail).map(|at| &tail[at..]))?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(&rest[..end]).ok().filter(|token| !token.is_empty())
}

async fn get(client: &kube::Client, path: &str, accept: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let request = http::Request::get(path).header(http::header::ACCEPT, accept).body(Body::empty())?;
    let answer = client.send(request).await?;
    if !answer.status().is_success() {
        // A kind that cannot be listed costs a dump one request, too.
        return Ok(Vec::new());
    }
    Ok(answer.into_body().collect().await?.to_bytes().to_vec())
}
