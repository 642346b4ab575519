//! What every round needs.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use kube::Client;
use proto::variables::Operator;
use runtime::nats::Connection;
use tokio::sync::watch;

use super::http::Http;
use crate::{RunArgs, job::JobSettings, observe::Limits, secret::Signer};

/// What every round needs. Clones share it.
#[derive(Clone)]
pub(super) struct Context(Arc<Inner>);

pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) nats: Connection,
    pub(super) http: Http,
    pub(super) signer: watch::Receiver<Option<Signer>>,
    pub(super) settings: JobSettings,
    pub(super) limits: Limits,
    /// Where metrics are pushed to; empty for nowhere.
    pub(super) pushgateway_url: String,
}

impl std::ops::Deref for Context {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Context {
    pub(super) fn new(
        client: Client,
        nats: Connection,
        http: Http,
        signer: watch::Receiver<Option<Signer>>,
        args: &RunArgs,
    ) -> Self {
        let signed = |limit: Duration| SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
        let limits = Limits {
            pod: signed(args.limits.pod_limit),
            node: signed(args.limits.node_limit),
            container: signed(args.limits.container_limit),
            session: signed(args.limits.session_limit),
            maintenance: signed(args.limits.maintenance_limit),
        };
        let settings = JobSettings {
            image: args.dispatcher_image.clone(),
            pull_secrets: args.image_pull_secrets.clone(),
            operator: operator(&args.dispatcher_image, &args.gateway_url),
        };
        let pushgateway_url = args.gateway_url.trim_end_matches('/').to_owned();
        Self(Arc::new(Inner { client, nats, http, signer, settings, limits, pushgateway_url }))
    }
}

/// The parts of an image's name, as Functions of others ask for them.
fn operator(image: &str, pushgateway_url: &str) -> Operator {
    let (path, tag) = match image.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, tag),
        _ => (image, ""),
    };
    let (registry, name) = path.rsplit_once('/').unwrap_or(("", path));
    Operator {
        pushgateway_url: pushgateway_url.to_owned(),
        registry: registry.to_owned(),
        image: name.to_owned(),
        tag: tag.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_registry_name_and_tag() {
        let table = [
            ("ghcr.io/a/dispatcher:1", ("ghcr.io/a", "dispatcher", "1")),
            ("localhost:5000/d", ("localhost:5000", "d", "")),
            ("d", ("", "d", "")),
        ];
        for (image, expected) in table {
            let Operator { registry, image, tag, .. } = operator(image, "");
            assert_eq!((registry.as_str(), image.as_str(), tag.as_str()), expected);
        }
    }
}
