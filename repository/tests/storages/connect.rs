//! How the tests connect: with little patience, so that what fails for good fails soon.

use std::sync::Arc;
use std::time::Duration;

use repository::{
    AzureOptions, B2Options, Backend, ConnectOptions, GcsOptions, Location, Patience, RestOptions, S3Options, Secret,
};
use testkit::{AzureServer, RestServer, S3Server};

/// Four attempts within a second.
pub(crate) const IMPATIENT: Patience = Patience {
    retries_max: 3,
    pause_first: Duration::from_millis(10),
    pause_max: Duration::from_millis(100),
    retry_max: Duration::from_secs(60),
    connect_max: Duration::from_secs(10),
    attempt_max: Duration::from_secs(60),
};

/// The options of every server of the tests but its address.
pub(crate) fn options() -> ConnectOptions {
    ConnectOptions {
        s3: S3Options {
            access_key_id: Some(S3Server::ACCESS_KEY.into()),
            secret_access_key: Some(Secret::new(S3Server::SECRET_KEY)),
            ..S3Options::default()
        },
        rest: RestOptions {
            username: Some(RestServer::USER.into()),
            password: Some(Secret::new(RestServer::PASSWORD)),
        },
        patience: IMPATIENT,
        ..ConnectOptions::default()
    }
}

pub(crate) fn gcs(url: &str) -> ConnectOptions {
    ConnectOptions { gcs: GcsOptions { emulator: Some(url.into()), ..GcsOptions::default() }, ..options() }
}

pub(crate) fn azure(endpoint: &str) -> ConnectOptions {
    let azure = AzureOptions {
        account_name: Some(AzureServer::ACCOUNT.into()),
        account_key: Some(Secret::new(AzureServer::KEY)),
        endpoint: Some(endpoint.into()),
        ..AzureOptions::default()
    };
    ConnectOptions { azure, ..options() }
}

pub(crate) fn b2(api_url: &str) -> ConnectOptions {
    let b2 = B2Options {
        key_id: Some(S3Server::ACCESS_KEY.into()),
        key: Some(Secret::new(S3Server::SECRET_KEY)),
        api_url: Some(api_url.into()),
        ..B2Options::default()
    };
    ConnectOptions { b2, ..options() }
}

pub(crate) fn connect(location: &str, options: &ConnectOptions) -> Arc<dyn Backend> {
    Location::parse(location).unwrap().connect(options).unwrap()
}
