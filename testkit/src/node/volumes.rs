//! Volumes for claims: folders of the node, bound by hand, since a provisioner would be one more program.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use serde_json::{Value, json};

/// Claims that a node can satisfy.
const COUNT: usize = 8;

/// Makes the folders, and returns the default StorageClass and a PersistentVolume for each of them.
pub(super) fn make(folder: &Path) -> io::Result<Value> {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "kubernetes.io/no-provisioner",
        "metadata": { "name": "folders", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
    });
    let mut items = vec![class];
    for number in 0..COUNT {
        let path = folder.join(format!("volumes/{number}"));
        fs::create_dir_all(&path)?;
        // kubelet gives such a folder to nobody's group, and Pods run as any user.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
        items.push(json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": format!("folder-{number}") },
            "spec": {
                "storageClassName": "folders", "capacity": { "storage": "10Gi" }, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": path, "type": "Directory" },
            },
        }));
    }
    Ok(json!({ "apiVersion": "v1", "kind": "List", "items": items }))
}
