//! The control plane is a real one, ready when `start` returns, and gone afterwards.

#![expect(clippy::unwrap_used, reason = "what helps a test fails like a test")]

use std::{
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use http::Request;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use testkit::{ControlPlane, wait_for};

async fn get(client: &Client, path: &str) -> Result<Value, kube::Error> {
    client.request(Request::get(path).body(Vec::new()).unwrap()).await
}

fn code<T>(answer: Result<T, kube::Error>) -> u16 {
    match answer {
        Err(kube::Error::Api(status)) => status.code,
        Err(other) => panic!("{other}"),
        Ok(_) => 200,
    }
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap()
}

#[tokio::test]
async fn two_control_planes_know_nothing_of_each_other() {
    let started = Instant::now();
    let (one, other) = tokio::join!(ControlPlane::start(), ControlPlane::start());
    println!("two started in {:?}", started.elapsed());
    assert_ne!(one.url(), other.url());
    let maps = |client| Api::<ConfigMap>::namespaced(client, "default");
    maps(one.client().await).create(&PostParams::default(), &config_map("only-here")).await.unwrap();
    assert!(maps(one.client().await).get_opt("only-here").await.unwrap().is_some());
    assert!(maps(other.client().await).get_opt("only-here").await.unwrap().is_none());
}

#[tokio::test]
async fn the_controller_manager_gives_a_new_namespace_its_service_account() {
    let started = Instant::now();
    let control_plane = ControlPlane::builder().controller_manager(true).start().await;
    println!("started in {:?}", started.elapsed());
    let client = control_plane.client().await;
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": "shop" } })).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    let account = "/api/v1/namespaces/shop/serviceaccounts/default";
    wait_for(Duration::from_secs(30), || async { get(&client, account).await.is_ok() }).await;
}

#[tokio::test]
async fn a_user_may_do_what_rbac_grants_to_its_name_and_groups() {
    let control_plane = ControlPlane::start().await;
    let user = control_plane.user("ann", &["readers", "writers"]).client().await;
    assert_eq!(code(get(&user, "/api/v1/secrets").await), 403);

    let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview" });
    let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("content-type", "application/json")
        .body(review.to_string().into_bytes())
        .unwrap();
    let review: Value = user.request(request).await.unwrap();
    let info = &review["status"]["userInfo"];
    assert_eq!(info["username"], "ann");
    assert_eq!(info["groups"], json!(["readers", "writers", "system:authenticated"]));
}

#[tokio::test]
async fn the_admin_token_is_a_bearer_token() {
    let control_plane = ControlPlane::start().await;
    let mut config = kube::Config::new(control_plane.url().parse().unwrap());
    config.accept_invalid_certs = true;
    config.auth_info.token = Some(control_plane.admin_token().to_owned().into());
    let client = Client::try_from(config).unwrap();
    assert_eq!(code(get(&client, "/api/v1/secrets").await), 200);
}

#[tokio::test]
async fn objects_survive_an_outage_of_the_api_server() {
    let mut control_plane = ControlPlane::start().await;
    let client = control_plane.client().await;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "default");
    maps.create(&PostParams::default(), &config_map("kept")).await.unwrap();
    control_plane.stop_api_server();
    assert!(maps.get("kept").await.is_err());
    control_plane.start_api_server().await;
    assert!(maps.get("kept").await.is_ok());
}

/// Reads a page and returns the paths of two reads that depend on its version: the next page, and the same again.
async fn reads_of_a_version(client: &Client) -> [String; 2] {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "default");
    for number in 0..4 {
        maps.create(&PostParams::default(), &config_map(&format!("map-{number}"))).await.unwrap();
    }
    let page = maps.list(&ListParams::default().limit(2)).await.unwrap();
    let (token, version) = (page.metadata.continue_.unwrap(), page.metadata.resource_version.unwrap());
    let path = "/api/v1/namespaces/default/configmaps";
    [
        format!("{path}?limit=2&continue={token}"),
        format!("{path}?limit=500&resourceVersionMatch=Exact&resourceVersion={version}"),
    ]
}

#[tokio::test]
async fn old_versions_and_continue_tokens_are_gone_at_once_without_cache_snapshots() {
    let control_plane = ControlPlane::builder().without_cache_snapshots().start().await;
    let client = control_plane.client().await;
    let paths = reads_of_a_version(&client).await;
    for path in &paths {
        assert_eq!(code(get(&client, path).await), 200);
    }
    control_plane.compact().await;
    for path in &paths {
        assert_eq!(code(get(&client, path).await), 410);
    }
}

#[tokio::test]
async fn cache_snapshots_outlive_a_compaction_only_for_a_while() {
    let control_plane = ControlPlane::start().await;
    let client = control_plane.client().await;
    let paths = reads_of_a_version(&client).await;
    control_plane.compact().await;
    for path in paths {
        wait_for(Duration::from_secs(40), || async { code(get(&client, &path).await) == 410 }).await;
    }
}

#[tokio::test]
async fn events_of_a_separate_etcd_count_their_own_versions() {
    let control_plane = ControlPlane::builder().separate_etcd_for_events().start().await;
    let client = control_plane.client().await;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "default");
    for number in 0..20 {
        maps.create(&PostParams::default(), &config_map(&format!("map-{number}"))).await.unwrap();
    }
    let event: Event = serde_json::from_value(json!({
        "metadata": { "name": "first", "namespace": "default" },
        "involvedObject": { "kind": "ConfigMap", "name": "map-0", "namespace": "default" },
    }))
    .unwrap();
    let events = Api::<Event>::namespaced(client.clone(), "default");
    let event = events.create(&PostParams::default(), &event).await.unwrap();
    let map = maps.get("map-0").await.unwrap();
    let number = |version: Option<String>| version.unwrap().parse::<u64>().unwrap();
    assert!(number(event.metadata.resource_version) < number(map.metadata.resource_version));
}

#[tokio::test]
async fn a_dead_aggregated_api_stands_in_discovery_and_answers_503() {
    let control_plane = ControlPlane::start().await;
    control_plane.register_dead_api("dead.example.com", "v1alpha1").await;
    let client = control_plane.client().await;
    let path = "/apis/dead.example.com/v1alpha1";
    wait_for(Duration::from_secs(30), || async { code(get(&client, path).await) == 503 }).await;
    let groups = get(&client, "/apis").await.unwrap();
    let names: Vec<_> = groups["groups"].as_array().unwrap().iter().map(|group| group["name"].clone()).collect();
    assert!(names.contains(&json!("dead.example.com")), "{names:?}");
}

#[tokio::test]
async fn a_flag_that_is_none_fails_with_the_servers_own_words() {
    let failed = ControlPlane::builder().api_flag("--no-such-flag").try_start().await;
    let message = failed.err().unwrap().to_string();
    assert!(message.contains("kube-apiserver ended") && message.contains("unknown flag: --no-such-flag"), "{message}");
}

#[tokio::test]
async fn nothing_listens_after_drop() {
    let control_plane = ControlPlane::start().await;
    let port: u16 = control_plane.url().rsplit(':').next().unwrap().parse().unwrap();
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    let folder = control_plane.folder().to_owned();
    drop(control_plane);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
    assert!(!folder.exists());
}
