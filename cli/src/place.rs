//! The restic repository of a Repository object: where it lies and what opens it, read from the cluster.
//!
//! Credentials are those of the Secret. Only where it has none besides the password, those of the user's surroundings count, as
//! where the services use an identity that the cloud gives to their Pods. The two are never mixed.

use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use proto::{
    backend::{self, KEY_PASSWORD, Opening},
    crd::{Backend, Provider, Repository as RepositoryObject},
};
use repository::{ConnectOptions, Location, Password, Repository};

use crate::{exit::Failure, objects::Objects};

/// Where the storage is seen from here.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct EndpointArgs {
    /// Address of the storage as it is seen from here, instead of the Repository's (s3, rest): for storage inside the cluster,
    /// with `kubectl port-forward`
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
}

/// Opens the repository of a Repository object.
///
/// # Errors
/// The object or its Secret is missing or incomplete; those of opening a repository.
pub(crate) async fn open(objects: &Objects, name: &str, endpoint: &EndpointArgs) -> Result<Repository, Failure> {
    let at = format!("{}/{name}", objects.namespace);
    let object: RepositoryObject = objects.get(&objects.namespace, name).await?;
    let backend = backend_of(object, &at, endpoint)?;
    let secret = backend.storage_secret_name.clone().filter(|name| !name.is_empty()).ok_or_else(|| {
        Failure::Wrong(format!(
            "Repository {at}: spec.backend.storageSecretName is empty; it must name the Secret with {KEY_PASSWORD}"
        ))
    })?;
    let secret: Secret = objects.get(&objects.namespace, &secret).await?;
    let opening = backend::opening(&backend, &secret)
        .map_err(|error| Failure::Refused { what: format!("Repository {at}"), why: error.to_string() })?;
    let (location, options, password) = access(opening, |name| std::env::var(name).ok())?;
    let connected = location.connect(&options).map_err(Failure::repository(format!("connect to {location}")))?;
    Repository::open(connected, &password).await.map_err(Failure::repository(format!("open {location}")))
}

/// The backend, as it is seen from here.
fn backend_of(object: RepositoryObject, at: &str, endpoint: &EndpointArgs) -> Result<Backend, Failure> {
    let missing = || Failure::Wrong(format!("Repository {at}: spec.backend is missing"));
    let mut backend = object.spec.backend.ok_or_else(missing)?;
    if backend.provider() == Some(Provider::Local) {
        return Err(Failure::Wrong(format!(
            "Repository {at} lies on a volume (spec.backend.local), which is not reachable from here: mount it in a Pod or on this \
             machine, and use `kubectl stash restore-files --repo FOLDER` and the other verbs with --repo there"
        )));
    }
    let Some(url) = &endpoint.endpoint else { return Ok(backend) };
    match (&mut backend.s3, &mut backend.rest) {
        (Some(s3), _) => s3.endpoint = Some(url.clone()),
        (None, Some(rest)) => rest.url = Some(url.clone()),
        (None, None) => {
            let wrong = format!("--endpoint is for storage of kind s3 or rest; Repository {at} has neither");
            return Err(Failure::Wrong(wrong));
        }
    }
    Ok(backend)
}

/// Place, settings and password. `surroundings` are the variables of this process.
fn access(
    opening: Opening,
    surroundings: impl Fn(&str) -> Option<String>,
) -> Result<(Location, ConnectOptions, Password), Failure> {
    let has_credentials = opening.has_credentials();
    let Opening { notation, mut values, connections_max } = opening;
    let ambient = |name: &str| if has_credentials { None } else { surroundings(name) };
    let mut options = ConnectOptions::from_env(|name| values.get(name).cloned().or_else(|| ambient(name)));
    options.connections_max = connections_max;
    let location =
        Location::parse(&notation).map_err(|source| Failure::Location { repository: notation.clone(), source })?;
    Ok((location, options, Password::new(values.remove(KEY_PASSWORD).unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(backend: Value) -> RepositoryObject {
        serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": {"backend": backend}})).expect("a Repository")
    }

    fn opening(values: &[(&str, &str)]) -> Opening {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Opening { notation: "s3:s3.example.com/b/".to_owned(), values, connections_max: None }
    }

    #[test]
    fn credentials_of_the_secret_and_of_the_surroundings_are_never_mixed() {
        let ambient = |name: &str| (name.starts_with("AWS_")).then(|| "mine".to_owned());
        let (_, options, _) = access(opening(&[("RESTIC_PASSWORD", "p")]), ambient).expect("an address");
        assert_eq!(options.s3.access_key_id.as_deref(), Some("mine"));
        let of_secret = opening(&[("RESTIC_PASSWORD", "p"), ("AWS_ACCESS_KEY_ID", "theirs")]);
        let (_, options, _) = access(of_secret, ambient).expect("an address");
        assert_eq!(options.s3.access_key_id.as_deref(), Some("theirs"));
        assert!(options.s3.session_token.is_none());
    }

    #[test]
    fn an_endpoint_replaces_the_repositorys_and_a_volume_is_out_of_reach() {
        let near = EndpointArgs { endpoint: Some("http://127.0.0.1:9000".to_owned()) };
        let s3 = backend_of(object(json!({"s3": {"bucket": "b"}})), "d/r", &near).expect("s3 has an endpoint");
        assert_eq!(s3.s3.and_then(|s3| s3.endpoint).as_deref(), Some("http://127.0.0.1:9000"));
        let refused = |backend| backend_of(object(backend), "d/r", &near).expect_err("no endpoint").to_string();
        assert!(refused(json!({"gcs": {"bucket": "b"}})).contains("--endpoint is for"));
        assert!(refused(json!({"local": {"mountPath": "/d"}})).contains("restore-files --repo"));
    }
}
