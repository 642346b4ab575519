//! A filled cluster is large, varied and quickly made.

use std::time::Instant;

use http::Request;
use kube::Client;
use serde_json::Value;
use testkit::{ControlPlane, Population, populate};

async fn list(client: &Client, path: &str) -> Vec<Value> {
    let request = Request::get(path).body(Vec::new()).expect("the path is valid");
    let list: Value = client.request(request).await.expect("the list is served");
    list["items"].as_array().expect("a list has items").clone()
}

#[tokio::test]
async fn a_filled_cluster_has_what_the_population_says() {
    let control_plane = ControlPlane::start().await;
    let client = control_plane.client().await;
    let population = Population { objects: 2_000, ..Population::default() };
    let started = Instant::now();
    let populated = populate(&client, &population).await;
    println!("{populated:?} in {:?}", started.elapsed());
    assert!((2_000..2_010).contains(&populated.objects));

    let pods = list(&client, "/api/v1/pods").await;
    assert!(pods.iter().any(|pod| pod["metadata"]["ownerReferences"][0]["kind"] == "ReplicaSet"));
    let maps = list(&client, "/api/v1/configmaps").await;
    assert!(maps.iter().any(|map| map["metadata"]["name"].as_str().is_some_and(|name| name.len() == 253)));
    let roles = list(&client, "/apis/rbac.authorization.k8s.io/v1/roles").await;
    assert!(roles.iter().any(|role| role["metadata"]["name"].as_str().is_some_and(|name| name.contains('ö'))));
    for path in [
        "/apis/serving.example.com/v1/services",
        "/apis/etl.example.com/v1beta1/jobs",
        "/apis/shop.example.com/v1alpha1/orders",
    ] {
        assert!(!list(&client, path).await.is_empty(), "{path}");
    }

    // The same again finds everything there.
    assert_eq!(populate(&client, &population).await.objects, populated.objects);
    assert_eq!(list(&client, "/api/v1/pods").await.len(), pods.len());
}
