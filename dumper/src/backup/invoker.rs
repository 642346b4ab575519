//! What is to be dumped: the target of the invoker that the flags name.

use proto::{
    crd::{BackupBatch, BackupConfiguration, TargetRef},
    output::EMPTY_TARGET_KIND,
};

use super::{
    BackupError,
    args::{BackupArgs, empty_target},
    object,
};
use crate::{
    api::Api,
    filter::Filter,
    service::DumpOptions,
    target::{Application, Target},
};

/// A target, and how it is dumped.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) target: TargetRef,
    pub(super) options: DumpOptions,
}

/// The flags name nothing that there is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    #[error("{invoker} has no target {kind} \"{name}\"{}: was it changed after the session began?", in_namespace(.namespace))]
    NotThere { invoker: String, kind: String, name: String, namespace: String },
    #[error("--invoker-kind is \"{0}\", not BackupConfiguration or BackupBatch")]
    Kind(String),
    #[error("the target has no name")]
    NoName,
}

fn in_namespace(namespace: &str) -> String {
    if namespace.is_empty() { String::new() } else { format!(" in namespace \"{namespace}\"") }
}

/// Reads the invoker and finds the target in it. Without an invoker the flags are taken as they are.
pub(super) async fn wanted(api: &Api, args: &BackupArgs) -> Result<Wanted, BackupError> {
    let BackupArgs { namespace, invoker_kind, invoker_name, .. } = args;
    if invoker_name.is_empty() {
        return Ok(of(args.target_of_flags(), args)?);
    }
    let base = format!("/apis/stash.appscode.com/v1beta1/namespaces/{namespace}");
    let what = format!("{invoker_kind} {namespace}/{invoker_name}");
    let targets = match invoker_kind.as_str() {
        "BackupConfiguration" => {
            let path = format!("{base}/backupconfigurations/{invoker_name}");
            let invoker: BackupConfiguration = object(api, &path, &what).await?;
            vec![invoker.spec.target.and_then(|target| target.ref_)]
        }
        "BackupBatch" => {
            let path = format!("{base}/backupbatches/{invoker_name}");
            let invoker: BackupBatch = object(api, &path, &what).await?;
            invoker.spec.members.into_iter().map(|member| member.target.and_then(|target| target.ref_)).collect()
        }
        other => return Err(TargetError::Kind(other.to_owned()).into()),
    };
    let target = find(targets, args).ok_or_else(|| TargetError::NotThere {
        invoker: what,
        kind: args.target_kind.clone(),
        name: args.target_name.clone(),
        namespace: args.target_namespace.clone(),
    })?;
    Ok(of(target, args)?)
}

/// The target that the flags mean: kind, name and namespace are the same. Its API version is no flag.
fn find(targets: Vec<Option<TargetRef>>, args: &BackupArgs) -> Option<TargetRef> {
    let wanted = args.target_of_flags();
    let namespace = wanted.namespace.clone().unwrap_or_else(|| args.namespace.clone());
    let defaulted = targets.into_iter().map(|target| match target {
        None => empty_target(),
        Some(target) => {
            let namespace = target.namespace.clone().filter(|name| !name.is_empty());
            TargetRef { namespace: namespace.or_else(|| Some(args.namespace.clone())), ..target }
        }
    });
    let is_wanted = |target: &TargetRef| {
        let own = target.namespace.clone().unwrap_or_else(|| namespace.clone());
        target.kind == wanted.kind && target.name == wanted.name && own == namespace
    };
    defaulted.into_iter().find(is_wanted)
}

fn of(target: TargetRef, args: &BackupArgs) -> Result<Wanted, TargetError> {
    let name = || target.name.clone().filter(|name| !name.is_empty()).ok_or(TargetError::NoName);
    let what = match target.kind.as_deref() {
        None | Some(EMPTY_TARGET_KIND) => Target::Cluster,
        Some("Namespace") => Target::Namespace(name()?),
        Some(kind) => Target::Application(Application {
            kind: qualified(kind, target.api_version.as_deref()),
            name: name()?,
            namespace: target.namespace.clone().unwrap_or_else(|| args.namespace.clone()),
            include_dependants: args.include_dependants,
        }),
    };
    let label_selector = Some(args.label_selector.clone()).filter(|selector| !selector.is_empty());
    let filter = Filter { label_selector, ..Filter::default() };
    let options = DumpOptions { filter, sanitize: args.sanitize, ..DumpOptions::new(what) };
    Ok(Wanted { target, options })
}

/// `Deployment` of `apps/v1` as `Deployment.apps`; of the core group as `Pod.`.
fn qualified(kind: &str, api_version: Option<&str>) -> String {
    match api_version.filter(|version| !version.is_empty()) {
        None => kind.to_owned(),
        Some(version) => format!("{kind}.{}", version.split_once('/').map_or("", |(group, _)| group)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::args::tests::parsed, *};

    fn target(api_version: &str, kind: &str, name: &str, namespace: Option<&str>) -> TargetRef {
        let text = |text: &str| Some(text.to_owned());
        let namespace = namespace.map(ToOwned::to_owned);
        TargetRef { api_version: text(api_version), kind: text(kind), name: text(name), namespace }
    }

    #[test]
    fn kind_and_name_say_which_of_the_three_ways_is_meant() {
        let dumped = |target: TargetRef| of(target, &parsed(&["--namespace=demo"])).expect("a target").options.target;
        assert_eq!(dumped(empty_target()), Target::Cluster);
        assert_eq!(dumped(target("v1", "Namespace", "shop", Some("demo"))), Target::Namespace("shop".into()));
        let Target::Application(application) = dumped(target("apps/v1", "Deployment", "web", None)) else {
            panic!("an application")
        };
        assert_eq!((application.kind.as_str(), application.namespace.as_str()), ("Deployment.apps", "demo"));
        assert_eq!(qualified("Pod", Some("v1")), "Pod.");
        assert_eq!(qualified("Pod", None), "Pod");
        assert!(matches!(of(target("v1", "Pod", "", None), &parsed(&[])), Err(TargetError::NoName)));
    }

    #[test]
    fn the_invokers_target_is_found_by_kind_name_and_namespace() {
        let batch = || {
            vec![
                Some(target("apps/v1", "Deployment", "web", None)),
                Some(target("apps/v1", "Deployment", "web", Some("shop"))),
                None,
            ]
        };
        let flags = |more: &[&str]| parsed(&[&["--namespace=demo"], more].concat());
        let web = ["--target-kind=Deployment", "--target-name=web"];
        let in_shop = find(batch(), &flags(&[&web[..], &["--target-namespace=shop"]].concat())).expect("there");
        assert_eq!(in_shop.namespace.as_deref(), Some("shop"));
        let at_home = find(batch(), &flags(&web)).expect("there");
        assert_eq!(at_home.namespace.as_deref(), Some("demo"));
        assert_eq!(find(batch(), &flags(&["--target-kind=EmptyTarget", "--target-name=na"])), Some(empty_target()));
        assert_eq!(find(batch(), &flags(&["--target-kind=Pod", "--target-name=web"])), None);
    }
}
