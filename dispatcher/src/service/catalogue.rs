//! Sets the addon up, once.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use runtime::{chain, ready::Waiting, shutdown::Drain, tasks::TaskResult};
use serde_json::Value;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::catalogue::{Images, objects};

/// The name under which fields are applied.
const FIELD_MANAGER: &str = "stowage-catalogue";
/// Pause between attempts.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
const CONFLICT: u16 = 409;

/// Applies the objects until each is there, then waits for `drain`.
pub(super) async fn run(client: Client, images: Images, waiting: Waiting, mut drain: Drain) -> TaskResult {
    for object in objects(&images) {
        while let Err(error) = apply(&client, &object).await {
            warn!(reason = %chain(&error), "Cannot set up the addon at the moment");
            tokio::select! { () = sleep(AGAIN_AFTER) => {} () = drain.signaled() => return Ok(()) }
        }
    }
    drop(waiting);
    drain.signaled().await;
    Ok(())
}

/// Without force: fields that somebody else has written stay.
async fn apply(client: &Client, object: &Value) -> kube::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
    let plural = format!("{}s", kind.to_lowercase());
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(proto::crd::GROUP, "v1beta1", &kind), &plural);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    match api.patch(&name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(object)).await {
        Ok(_) => info!(%kind, %name, "The addon's object is there"),
        Err(kube::Error::Api(status)) if status.code == CONFLICT => {
            warn!(%kind, %name, reason = %status.message, "Somebody else has written this object of the addon: it stays");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
