//! `create repository`.

use clap::{Args, ValueEnum};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use proto::{
    backend,
    crd::{AzureBackend, B2Backend, Backend, GcsBackend, Repository, RepositorySpec, RestBackend, S3Backend},
};

use crate::exit::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProviderName {
    /// Amazon S3 or what speaks like it
    S3,
    /// Google Cloud Storage
    Gcs,
    /// Azure Blob Storage
    Azure,
    /// Backblaze B2
    B2,
    /// restic's REST server
    Rest,
}

#[derive(Args, Debug)]
#[command(long_about = "Create a Repository: where backups are stored.\n\n\
    The Secret must be in the same namespace and hold RESTIC_PASSWORD and the storage's credentials (s3: AWS_ACCESS_KEY_ID, \
    AWS_SECRET_ACCESS_KEY; gcs: GOOGLE_SERVICE_ACCOUNT_JSON_KEY; azure: AZURE_ACCOUNT_NAME, AZURE_ACCOUNT_KEY; b2: B2_ACCOUNT_ID, \
    B2_ACCOUNT_KEY; rest: REST_SERVER_USERNAME, REST_SERVER_PASSWORD), and CA_CERT_DATA where the storage's certificate is your own. \
    Whoever loses RESTIC_PASSWORD loses the backups: keep a copy outside the cluster.")]
#[command(after_help = "Example:
  kubectl create secret generic -n demo storage --from-literal=RESTIC_PASSWORD=… --from-literal=AWS_ACCESS_KEY_ID=… \\
      --from-literal=AWS_SECRET_ACCESS_KEY=…
  kubectl stash create repository -n demo prod-repo --provider s3 --endpoint https://s3.example.com --bucket backups \\
      --prefix /prod --secret storage")]
pub(super) struct RepositoryFlags {
    /// Name of the Repository
    name: String,
    /// Kind of storage
    #[arg(long, value_name = "PROVIDER")]
    provider: ProviderName,
    /// Bucket, or container of Azure
    #[arg(long, value_name = "NAME", required_if_eq_any = [("provider", "s3"), ("provider", "gcs"), ("provider", "azure"), ("provider", "b2")])]
    bucket: Option<String>,
    /// Folder in the bucket
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
    /// Address of the storage (s3, rest) [default for s3: that of Amazon]
    #[arg(long, value_name = "URL", required_if_eq("provider", "rest"))]
    endpoint: Option<String>,
    /// Region (s3)
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Requests at the same time (gcs, azure, b2) [default: chosen by the client]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    max_connections: Option<i64>,
    /// Secret with the password and the credentials
    #[arg(long, value_name = "NAME")]
    secret: String,
    /// Print the object as YAML, create nothing
    #[arg(long)]
    pub(super) print: bool,
}

impl RepositoryFlags {
    /// # Errors
    /// A flag that its provider does not know, or a place that makes no sense.
    pub(super) fn object(&self, namespace: &str) -> Result<Repository, Failure> {
        use ProviderName::{Azure, B2, Gcs, Rest, S3};
        self.check("--endpoint", self.endpoint.is_some(), &[S3, Rest])?;
        self.check("--region", self.region.is_some(), &[S3])?;
        self.check("--max-connections", self.max_connections.is_some(), &[Gcs, Azure, B2])?;
        self.check("--bucket", self.bucket.is_some(), &[S3, Gcs, Azure, B2])?;
        self.check("--prefix", self.prefix.is_some(), &[S3, Gcs, Azure, B2])?;
        let backend = self.backend();
        backend::notation(&backend).map_err(|error| Failure::Wrong(error.to_string()))?;
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        };
        let spec = RepositorySpec { backend: Some(backend), ..RepositorySpec::default() };
        Ok(Repository { metadata, spec, status: None })
    }

    fn check(&self, flag: &str, is_set: bool, known_to: &[ProviderName]) -> Result<(), Failure> {
        if !is_set || known_to.contains(&self.provider) {
            return Ok(());
        }
        let name = self.provider.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        Err(Failure::Wrong(format!("{flag} is not for storage of kind {name}: leave it out")))
    }

    fn backend(&self) -> Backend {
        let (bucket, prefix, max_connections) = (self.bucket.clone(), self.prefix.clone(), self.max_connections);
        let (endpoint, region) = (self.endpoint.clone(), self.region.clone());
        let mut backend = Backend { storage_secret_name: Some(self.secret.clone()), ..Backend::default() };
        match self.provider {
            ProviderName::S3 => {
                let endpoint = endpoint.or_else(|| Some("s3.amazonaws.com".to_owned()));
                backend.s3 = Some(S3Backend { bucket, prefix, endpoint, region });
            }
            ProviderName::Gcs => backend.gcs = Some(GcsBackend { bucket, prefix, max_connections }),
            ProviderName::Azure => {
                backend.azure = Some(AzureBackend { container: bucket, prefix, max_connections });
            }
            ProviderName::B2 => backend.b2 = Some(B2Backend { bucket, prefix, max_connections }),
            ProviderName::Rest => backend.rest = Some(RestBackend { url: endpoint }),
        }
        backend
    }
}
