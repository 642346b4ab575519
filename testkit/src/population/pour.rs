//! Creates the planned objects through the API server, many at a time.
//!
//! Stages: definitions of custom resources (until they are served), namespaces, their default accounts, everything else.
//! An object that exists already is left as it is, so an interrupted run can be repeated.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body};
use serde_json::{Value, json};

use super::{Planned, Population};

/// Requests under way at a time. The API server is busy with 16 on two cores; more only hide its pauses.
const REQUESTS_IN_FLIGHT_MAX: usize = 32;
/// How often one object is tried, and how long before the second try; each further wait is twice as long.
const TRIES_MAX: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// How often a new custom resource is asked for until it is served, with [`FIRST_WAIT`] between.
const ESTABLISH_TRIES_MAX: usize = 300;

/// Why a cluster could not be filled, named by the phase.
#[derive(Debug, thiserror::Error)]
pub enum PopulateError {
    /// The API server did not answer.
    #[error("create {name} in {collection}")]
    Create {
        /// Name of the object.
        name: String,
        /// Path of its collection.
        collection: String,
        /// The client's error.
        #[source]
        source: kube::Error,
    },
    /// The API server did not take an object.
    #[error("{name} was refused in {collection} with {status}: {answer}")]
    Refused {
        /// Name of the object.
        name: String,
        /// Path of the collection.
        collection: String,
        /// Status of the answer.
        status: StatusCode,
        /// Body of the answer.
        answer: String,
    },
    /// A custom resource did not come into service.
    #[error("{definition} is not served")]
    Establish {
        /// Name of the definition.
        definition: String,
    },
}

/// What has been created so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Populated {
    /// Objects that the population names. Those that the API server adds (an address for each Service, say) are not counted.
    pub objects: usize,
    /// Bytes of JSON of these objects, as the API server returned them.
    pub bytes: u64,
}

impl Populated {
    fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
    }
}

/// Fills the cluster, and returns when every object has been created.
///
/// # Panics
/// When the API server refuses an object or stays away.
pub async fn populate(client: &Client, population: &Population) -> Populated {
    let poured = try_populate(client, population, |_| {}).await;
    poured.unwrap_or_else(|error| panic!("fill the cluster: {error}"))
}

/// As [`populate`], for callers that report the error themselves. `progress` is called as objects come into being.
///
/// # Errors
/// [`PopulateError`]; what had been created until then stays.
pub async fn try_populate(
    client: &Client,
    population: &Population,
    mut progress: impl FnMut(Populated),
) -> Result<Populated, PopulateError> {
    let mut sum = Populated::default();
    let mut report = |more: Populated| {
        sum.add(more);
        progress(sum);
    };
    let definitions = Population::definitions();
    pour(client, definitions.clone().into_iter(), &mut report).await?;
    for definition in &definitions {
        served(client, definition).await?;
    }
    pour(client, population.namespaces(), &mut report).await?;
    pour(client, population.accounts(), &mut report).await?;
    pour(client, population.rest(), &mut report).await?;
    Ok(sum)
}

async fn pour(
    client: &Client,
    planned: impl Iterator<Item = Planned>,
    report: &mut impl FnMut(Populated),
) -> Result<(), PopulateError> {
    let trees = stream::iter(planned).map(|tree| create_tree(client, tree));
    let mut trees = pin!(trees.buffer_unordered(REQUESTS_IN_FLIGHT_MAX));
    while let Some(more) = trees.try_next().await? {
        report(more);
    }
    Ok(())
}

/// Creates an object, then those it owns.
async fn create_tree(client: &Client, root: Planned) -> Result<Populated, PopulateError> {
    let mut created = Populated::default();
    let mut waiting = vec![(root, None)];
    while let Some((mut planned, owner)) = waiting.pop() {
        if let Some(owner) = owner {
            planned.object["metadata"]["ownerReferences"] = json!([owner]);
        }
        let answer = create(client, &planned).await?;
        created.add(Populated { objects: 1, bytes: answer.len() as u64 });
        if planned.dependants.is_empty() {
            continue;
        }
        let owner = owner_reference(&planned.object, &answer);
        waiting.extend(planned.dependants.into_iter().map(|dependant| (dependant, Some(owner.clone()))));
    }
    Ok(created)
}

fn owner_reference(object: &Value, answer: &[u8]) -> Value {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"],
        "uid": answer["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    })
}

/// Returns the object as the API server has it.
async fn create(client: &Client, planned: &Planned) -> Result<Bytes, PopulateError> {
    let name = planned.object["metadata"]["name"].as_str().unwrap_or_default();
    let body = planned.object.to_string().into_bytes();
    let mut wait = FIRST_WAIT;
    for remaining in (0..TRIES_MAX).rev() {
        let create = Request::post(&planned.collection).header("content-type", "application/json");
        let answer = match send(client, create, body.clone()).await {
            // A repeated run, or a request whose answer was lost.
            Ok((StatusCode::CONFLICT, _)) => {
                send(client, Request::get(format!("{}/{}", planned.collection, escaped(name))), Vec::new()).await
            }
            answer => answer,
        };
        let again = match &answer {
            Ok((status, _)) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Err(_) => true,
        };
        if !again || remaining == 0 {
            return conclude(answer, name, planned);
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    unreachable!("the last try concludes")
}

fn conclude(
    answer: Result<(StatusCode, Bytes), kube::Error>,
    name: &str,
    planned: &Planned,
) -> Result<Bytes, PopulateError> {
    let (name, collection) = (name.to_owned(), planned.collection.clone());
    match answer {
        Ok((status, body)) if status.is_success() => Ok(body),
        Ok((status, body)) => {
            let answer = String::from_utf8_lossy(&body).into_owned();
            Err(PopulateError::Refused { name, collection, status, answer })
        }
        Err(source) => Err(PopulateError::Create { name, collection, source }),
    }
}

async fn served(client: &Client, definition: &Planned) -> Result<(), PopulateError> {
    let spec = &definition.object["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    for version in spec["versions"].as_array().into_iter().flatten() {
        let path = format!("/apis/{group}/{}/{plural}?limit=1", text(&version["name"]));
        let mut tries = 0;
        while !matches!(send(client, Request::get(&path), Vec::new()).await, Ok((StatusCode::OK, _))) {
            tries += 1;
            if tries == ESTABLISH_TRIES_MAX {
                return Err(PopulateError::Establish { definition: text(&definition.object["metadata"]["name"]) });
            }
            tokio::time::sleep(FIRST_WAIT).await;
        }
    }
    Ok(())
}

async fn send(
    client: &Client,
    request: http::request::Builder,
    body: Vec<u8>,
) -> Result<(StatusCode, Bytes), kube::Error> {
    let request = request.body(Body::from(body)).map_err(kube::Error::HttpError)?;
    let answer = client.send(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, body))
}

/// A name as a part of a path.
fn escaped(name: &str) -> String {
    name.bytes().fold(String::new(), |path, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b':' => {
            path + char::from(byte).encode_utf8(&mut [0])
        }
        other => path + &format!("%{other:02X}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_byte_by_byte() {
        assert_eq!(escaped("team:a-1 (ö)"), "team:a-1%20%28%C3%B6%29");
    }
}
