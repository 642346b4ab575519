//! From a location and its options to a storage. Nothing is sent here: a wrong host or password shows at the first call.
//!
//! Requests to S3 are path-style, except to Amazon's own endpoints, where the bucket is part of the host name.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GcpCredentialProvider, GoogleCloudStorageBuilder};
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};

use super::{AzureOptions, ConnectOptions, Location, Patience, RestOptions, S3Client, S3Options, scheme};
use crate::backend::{
    B2Backend, Backend, BackendError, Connector, FailureKind, GcsBackend, Http, LocalBackend, ObjectBackend,
    RestBackend,
};
use crate::error::Error;
use crate::secret::Secret;

/// Concurrent requests to a storage behind a network; restic's default for each of them.
const CONNECTIONS_DEFAULT: usize = 5;

/// Google's storage.
const GCS_URL: &str = "https://storage.googleapis.com";
/// Where B2 tells who one is and where one's data lies (Backblaze, "Call the Native API").
const B2_API_URL: &str = "https://api.backblazeb2.com";

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl Location {
    /// The storage at this location. Nothing is sent yet, so a wrong host or password shows at the first call.
    ///
    /// # Errors
    /// [`Error::Storage`] when the options cannot be used, for example a CA certificate that is none, or no name of an Azure account.
    pub fn connect(&self, options: &ConnectOptions) -> Result<Arc<dyn Backend>, Error> {
        let failed = |cause| BackendError::new(FailureKind::Other, "connect to", self).caused_by(cause);
        self.backend(options).map_err(|cause: Cause| failed(cause).into())
    }

    fn backend(&self, options: &ConnectOptions) -> Result<Arc<dyn Backend>, Cause> {
        let connections = options.connections_max.unwrap_or(CONNECTIONS_DEFAULT);
        let objects = |store, prefix: &str| ObjectBackend::new(store, prefix, self.to_string(), connections);
        Ok(match self {
            Self::Local { path } => {
                let backend = LocalBackend::new(path);
                match options.connections_max {
                    Some(connections) => Arc::new(backend.with_connections(connections)),
                    None => Arc::new(backend),
                }
            }
            Self::S3 { .. } if options.s3.client == S3Client::Rusoto => self.rusoto(options, connections)?,
            Self::S3 { tls, host, bucket, prefix } => {
                let builder = s3_builder(&options.s3, host, bucket, *tls);
                let builder = builder.with_client_options(client(options, *tls)?);
                Arc::new(objects(Arc::new(builder.with_retry(retries(options.patience)).build()?), prefix))
            }
            Self::Azure { container, prefix } => {
                Arc::new(objects(Arc::new(azure_builder(options, container)?.build()?), prefix))
            }
            Self::Gcs { bucket, prefix } => {
                let (url, credentials) = gcs_access(options, bucket)?;
                let http = http(options)?;
                Arc::new(GcsBackend::new(http, &url, credentials, bucket, prefix, self.to_string(), connections)?)
            }
            Self::B2 { .. } => Arc::new(self.b2(options, connections)?),
            Self::Rest { tls, host, path, user } => {
                let url = format!("{}://{host}{path}", scheme(*tls));
                let user = user.clone().or_else(|| rest_user(&options.rest));
                Arc::new(RestBackend::new(http(options)?, &url, user, self.to_string(), connections)?)
            }
        })
    }

    #[cfg(feature = "rusoto")]
    fn rusoto(&self, options: &ConnectOptions, connections: usize) -> Result<Arc<dyn Backend>, Cause> {
        use crate::backend::{Place, RusotoBackend};
        let Self::S3 { tls, host, bucket, prefix } = self else { return Err("this is no S3 location".into()) };
        let place = Place {
            endpoint: format!("{}://{host}", scheme(*tls)),
            region: region(&options.s3, host),
            bucket,
            prefix,
            location: self.to_string(),
        };
        let ca_pem = options.ca_pem.as_deref();
        Ok(Arc::new(RusotoBackend::new(place, &options.s3, ca_pem, options.patience, connections)?))
    }

    #[cfg(not(feature = "rusoto"))]
    #[expect(clippy::unused_self, reason = "the other one needs it")]
    fn rusoto(&self, _: &ConnectOptions, _: usize) -> Result<Arc<dyn Backend>, Cause> {
        Err("STOWAGE_S3_CLIENT is rusoto, and this program was built without the feature `rusoto`".into())
    }

    /// B2 is its S3 API, once it is known where that is; see [`B2Backend`].
    fn b2(&self, options: &ConnectOptions, connections: usize) -> Result<B2Backend, Cause> {
        let Self::B2 { bucket, prefix } = self else { return Err("this is no B2 location".into()) };
        let (Some(key_id), Some(key)) = (options.b2.key_id.clone(), options.b2.key.clone()) else {
            return Err("B2 needs B2_ACCOUNT_ID and B2_ACCOUNT_KEY".into());
        };
        let (options_of_s3, bucket) = (options.clone(), bucket.clone());
        let (keys, prefix, location) = ((key_id.clone(), key.clone()), prefix.clone(), self.to_string());
        let open = move |endpoint: &str| -> Result<ObjectBackend, Cause> {
            let (tls, host) = split_url(endpoint).ok_or("the S3 endpoint of B2 is no URL")?;
            let s3 = S3Options {
                access_key_id: Some(keys.0.clone()),
                secret_access_key: Some(keys.1.clone()),
                ..S3Options::default()
            };
            let store = s3_builder(&s3, host, &bucket, tls)
                .with_client_options(client(&options_of_s3, tls)?)
                .with_retry(retries(options_of_s3.patience))
                // B2 answers a PUT with If-None-Match with 501; ObjectBackend claims `config` without it.
                .with_conditional_put(object_store::aws::S3ConditionalPut::Disabled)
                .build()?;
            Ok(ObjectBackend::new(Arc::new(store), &prefix, location.clone(), connections))
        };
        let api_url = options.b2.api_url.as_deref().unwrap_or(B2_API_URL);
        let endpoint = options.b2.s3_endpoint.clone();
        Ok(B2Backend::new(
            http(options)?,
            api_url,
            (key_id, key),
            endpoint,
            self.to_string(),
            connections,
            Box::new(open),
        ))
    }
}

fn http(options: &ConnectOptions) -> Result<Http, Cause> {
    use_ring();
    Http::new(options.patience, options.ca_pem.as_deref())
}

fn client(options: &ConnectOptions, tls: bool) -> Result<ClientOptions, Cause> {
    use_ring();
    let Patience { connect_max, attempt_max, .. } = options.patience;
    let client = ClientOptions::new()
        .with_allow_http(!tls)
        .with_connect_timeout(connect_max)
        .with_timeout(attempt_max)
        .with_http1_only();
    let certificates = options.ca_pem.as_deref().map(Certificate::from_pem_bundle).transpose()?.unwrap_or_default();
    Ok(certificates.into_iter().fold(client, ClientOptions::with_root_certificate))
}

fn retries(patience: Patience) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig { init_backoff: patience.pause_first, max_backoff: patience.pause_max, base: 2. },
        max_retries: patience.retries_max,
        retry_timeout: patience.retry_max,
    }
}

/// TLS needs a crypto provider for the process; if the program chose one already, that one stays.
fn use_ring() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // The error means that another thread was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

fn s3_builder(options: &S3Options, host: &str, bucket: &str, tls: bool) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new()
        .with_http_connector(Connector)
        .with_bucket_name(bucket)
        .with_region(region(options, host))
        // One DELETE for each file: not every compatible server knows the bulk request.
        .with_disable_bulk_delete(true);
    builder = if is_amazon(host) {
        builder.with_virtual_hosted_style_request(!bucket.contains('.'))
    } else {
        builder.with_endpoint(format!("{}://{host}", scheme(tls)))
    };
    if let (Some(id), Some(key)) = (&options.access_key_id, &options.secret_access_key) {
        builder = builder.with_access_key_id(id).with_secret_access_key(key.expose());
        return match &options.session_token {
            Some(token) => builder.with_token(token.expose()),
            None => builder,
        };
    }
    if let Some(web) = &options.web_identity {
        builder = builder
            .with_config(AmazonS3ConfigKey::WebIdentityTokenFile, &web.token_file)
            .with_config(AmazonS3ConfigKey::RoleArn, &web.role_arn);
    }
    if let Some(container) = &options.container_identity {
        builder = builder
            .with_config(AmazonS3ConfigKey::ContainerCredentialsFullUri, &container.url)
            .with_config(AmazonS3ConfigKey::ContainerAuthorizationTokenFile, &container.token_file);
    }
    builder
}

fn azure_builder(options: &ConnectOptions, container: &str) -> Result<MicrosoftAzureBuilder, Cause> {
    let azure = &options.azure;
    let account = azure.account_name.as_deref().ok_or("Azure needs AZURE_ACCOUNT_NAME")?;
    let endpoint = azure_endpoint(azure, account);
    let tls = !endpoint.starts_with("http://");
    let mut builder = MicrosoftAzureBuilder::new()
        .with_http_connector(Connector)
        .with_client_options(client(options, tls)?)
        .with_retry(retries(options.patience))
        .with_account(account)
        .with_container_name(container)
        .with_endpoint(endpoint);
    if let Some(key) = &azure.account_key {
        return Ok(builder.with_access_key(key.expose()));
    }
    if let Some(signature) = &azure.account_sas {
        return Ok(builder.with_config(AzureConfigKey::SasKey, signature.expose()));
    }
    let identity = [
        (AzureConfigKey::ClientId, &azure.client_id),
        (AzureConfigKey::AuthorityId, &azure.tenant_id),
        (AzureConfigKey::FederatedTokenFile, &azure.federated_token_file),
    ];
    for (key, value) in identity {
        if let Some(value) = value {
            builder = builder.with_config(key, value);
        }
    }
    Ok(builder)
}

fn azure_endpoint(azure: &AzureOptions, account: &str) -> String {
    let suffix = azure.endpoint_suffix.as_deref().unwrap_or("core.windows.net");
    azure.endpoint.clone().unwrap_or_else(|| format!("https://{account}.blob.{suffix}"))
}

/// Where Google's storage is, and who gives out the tokens for it; an emulator needs none.
fn gcs_access(options: &ConnectOptions, bucket: &str) -> Result<(String, Option<GcpCredentialProvider>), Cause> {
    let gcs = &options.gcs;
    if let Some(emulator) = &gcs.emulator {
        let url = if emulator.contains("://") { emulator.clone() } else { format!("http://{emulator}") };
        return Ok((url, None));
    }
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_http_connector(Connector)
        .with_client_options(client(options, true)?)
        .with_retry(retries(options.patience))
        .with_bucket_name(bucket);
    builder = match (&gcs.access_token, &gcs.service_account_key, &gcs.credentials_file) {
        (Some(token), _, _) => builder.with_bearer_token(token.expose()),
        (None, Some(key), _) => builder.with_service_account_key(key.expose()),
        (None, None, Some(path)) => builder.with_application_credentials(path),
        (None, None, None) => builder,
    };
    Ok((GCS_URL.to_owned(), Some(Arc::clone(builder.build()?.credentials()))))
}

fn rest_user(options: &RestOptions) -> Option<(String, Secret)> {
    let password = options.password.clone().unwrap_or_else(|| Secret::new(""));
    options.username.clone().map(|user| (user, password))
}

/// Whether it is `https`, and host and port.
fn split_url(url: &str) -> Option<(bool, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next().filter(|host| !host.is_empty())?;
    Some((scheme != "http", host))
}

/// Amazon's general endpoints; bucket names belong into the host name there.
fn is_amazon(host: &str) -> bool {
    host == "s3.amazonaws.com" || (host.starts_with("s3.") && host.ends_with(".amazonaws.com"))
}

/// The region to sign requests for.
fn region<'a>(options: &'a S3Options, host: &'a str) -> &'a str {
    options.region.as_deref().or_else(|| region_of(host)).unwrap_or("us-east-1")
}

/// The region in `s3.<region>.amazonaws.com` and `s3.<region>.backblazeb2.com`.
fn region_of(host: &str) -> Option<&str> {
    let rest = host.strip_prefix("s3.")?;
    let region = rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".backblazeb2.com"));
    region.filter(|region| !region.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_told_by_the_host() {
        for (host, region) in [
            ("s3.eu-central-1.amazonaws.com", Some("eu-central-1")),
            ("s3.us-west-004.backblazeb2.com", Some("us-west-004")),
            ("s3.amazonaws.com", None),
            ("minio.demo.svc", None),
        ] {
            assert_eq!(region_of(host), region, "{host}");
        }
    }

    #[test]
    fn an_azure_account_is_reached_at_its_endpoint_suffix() {
        let mut azure = AzureOptions::default();
        assert_eq!(azure_endpoint(&azure, "name"), "https://name.blob.core.windows.net");
        azure.endpoint_suffix = Some("core.chinacloudapi.cn".into());
        assert_eq!(azure_endpoint(&azure, "name"), "https://name.blob.core.chinacloudapi.cn");
        azure.endpoint = Some("http://127.0.0.1:10000/name".into());
        assert_eq!(azure_endpoint(&azure, "name"), "http://127.0.0.1:10000/name");
    }

    #[test]
    fn what_is_missing_is_named_before_anything_is_sent() {
        for (location, name) in [("b2:bucket:/x", "B2_ACCOUNT_ID"), ("azure:box:/x", "AZURE_ACCOUNT_NAME")] {
            let refused = Location::parse(location).unwrap().connect(&ConnectOptions::default()).unwrap_err();
            let chain = crate::backend::chain_text(&refused);
            assert!(chain.contains(name), "{chain}");
        }
    }

    #[cfg(not(feature = "rusoto"))]
    #[test]
    fn a_client_that_was_not_built_in_is_refused() {
        let s3 = S3Options { client: S3Client::Rusoto, ..S3Options::default() };
        let options = ConnectOptions { s3, ..ConnectOptions::default() };
        let refused = Location::parse("s3:host/bucket").unwrap().connect(&options).unwrap_err();
        assert!(crate::backend::chain_text(&refused).contains("feature `rusoto`"));
    }

    #[test]
    fn connections_default_to_restics() {
        let connections = |text: &str, max| {
            let options = ConnectOptions { connections_max: max, ..ConnectOptions::default() };
            Location::parse(text).unwrap().connect(&options).unwrap().connections()
        };
        assert_eq!((connections("/srv", None), connections("/srv", Some(7))), (2, 7));
        for text in ["s3:host/bucket", "rest:http://host/"] {
            assert_eq!((connections(text, None), connections(text, Some(7)), connections(text, Some(0))), (5, 7, 1));
        }
    }
}
