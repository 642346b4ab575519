//! Where an object's file stands in a dump: Stash's layout.
//!
//! | target | object | path |
//! |---|---|---|
//! | cluster | cluster-scoped | `global/<Kind>/<name>.yaml` |
//! | cluster | namespaced | `namespaces/<namespace>/<Kind>/<name>.yaml` |
//! | namespace | any | `<Kind>/<name>.yaml` |
//! | application | root | `<name>.yaml` |
//! | application | child | `<folder of its parent>/<Kind>/<name>/<name>.yaml`, the root's folder being the top |
//! | application | child in another namespace than its parent's | `<folder of its parent>/namespaces/<namespace>/<Kind>/<name>/<name>.yaml`; `…/global/…` if it is in none |
//!
//! 1. **Any string is a safe name**: ordinary ones stay as they are, colons included.
//! 2. **Two objects never share a path**: every step is injective, and [`KindNames`] keeps groups apart that serve the same kind.
//! 3. **`MANIFEST` at the top belongs to the dump**: no kind's folder has that name.

mod file_name;
mod kind_names;

pub use kind_names::KindNames;

/// Name of the file at the top that holds the ledger.
pub const MANIFEST: &str = "MANIFEST";

const GLOBAL: &str = "global";
const NAMESPACES: &str = "namespaces";

/// Path in the dump of a whole cluster. `kind_folder` comes from [`KindNames::folder`].
pub fn in_cluster(kind_folder: &str, namespace: Option<&str>, name: &str) -> String {
    let file = file_name::yaml(name);
    match namespace {
        Some(namespace) => format!("{NAMESPACES}/{}/{kind_folder}/{file}", file_name::folder(namespace)),
        None => format!("{GLOBAL}/{kind_folder}/{file}"),
    }
}

/// Path in the dump of one namespace, the Namespace object itself included.
pub fn in_namespace(kind_folder: &str, name: &str) -> String {
    format!("{kind_folder}/{}", file_name::yaml(name))
}

/// Place of an object in the dump of an application: below its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Folder of its children, empty or with a `/` at the end.
    folder: String,
    namespace: Option<String>,
    file: String,
}

impl Branch {
    /// The application's root object.
    pub fn root(namespace: Option<&str>, name: &str) -> Self {
        Self { folder: String::new(), namespace: namespace.map(str::to_owned), file: file_name::yaml(name) }
    }

    /// An object that this one owns.
    pub fn child(&self, kind_folder: &str, namespace: Option<&str>, name: &str) -> Self {
        let above = &self.folder;
        let apart = match namespace {
            same if same == self.namespace.as_deref() => String::new(),
            Some(other) => format!("{NAMESPACES}/{}/", file_name::folder(other)),
            None => format!("{GLOBAL}/"),
        };
        Self {
            folder: format!("{above}{apart}{kind_folder}/{}/", file_name::folder(name)),
            namespace: namespace.map(str::to_owned),
            file: file_name::yaml(name),
        }
    }

    /// The object's path.
    pub fn path(&self) -> String {
        format!("{}{}", self.folder, self.file)
    }
}

#[cfg(test)]
mod tests;
