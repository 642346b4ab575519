//! Pages as an API server writes them: fields of built-in kinds in the order of their types, those of custom resources sorted.

use std::fmt::Write as _;

use super::Page;

const ITEMS: usize = 500;
const WORDS: &[&str] = &[
    "server",
    "port",
    "enabled",
    "timeout",
    "replicas",
    "http",
    "cache",
    "level",
    "debug",
    "region",
    "storage",
    "max-connections",
];

pub(crate) fn pages() -> Vec<Page> {
    vec![
        page("v1", "ConfigMap", config_map),
        page("v1", "Secret", secret),
        page("apps/v1", "Deployment", deployment),
        page("v1", "Pod", pod),
        page("demo.example/v1", "Widget", widget),
    ]
}

fn page(api_version: &str, kind: &str, item: fn(usize) -> String) -> Page {
    let items: Vec<String> = (0..ITEMS).map(item).collect();
    let body = format!(
        r#"{{"kind":"{kind}List","apiVersion":"{api_version}","metadata":{{"resourceVersion":"123456"}},"items":[{}]}}"#,
        items.join(",")
    );
    Page { name: kind.into(), api_version: api_version.into(), kind: kind.into(), body: body.into_bytes() }
}

fn word(seed: usize) -> &'static str {
    WORDS[seed % WORDS.len()]
}

fn sentence(seed: usize, words: usize) -> String {
    (0..words).map(|index| word(seed * 7 + index * 5)).collect::<Vec<_>>().join(" ")
}

fn metadata(number: usize, extra: &str, fields: &str) -> String {
    format!(
        r#""metadata":{{"name":"app-{number:05}","namespace":"team-{team:03}","uid":"7d3c1c57-0f0e-4c1a-9d52-{number:012x}","resourceVersion":"{number}","generation":3,"creationTimestamp":"2026-01-{day:02}T10:11:12Z","labels":{{"app":"app-{number}","app.kubernetes.io/name":"app-{number}","app.kubernetes.io/managed-by":"Helm","pod-template-hash":"6d4cf56db6"}},"annotations":{{"deployment.kubernetes.io/revision":"1","meta.helm.sh/release-name":"app","note":"{note}"}}{extra},"managedFields":[{{"manager":"helm","operation":"Update","apiVersion":"v1","time":"2026-01-{day:02}T10:11:12Z","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:annotations":{{".":{{}},"f:note":{{}}}},"f:labels":{{".":{{}},"f:app":{{}},"f:app.kubernetes.io/name":{{}}}}}},{fields}}}}},{{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2026-02-{day:02}T10:11:12Z","fieldsType":"FieldsV1","fieldsV1":{{"f:status":{{"f:conditions":{{".":{{}},"k:{{\"type\":\"Ready\"}}":{{".":{{}},"f:lastTransitionTime":{{}},"f:status":{{}},"f:type":{{}}}}}}}}}},"subresource":"status"}}]}}"#,
        team = number / 20,
        day = 1 + number % 28,
        note = sentence(number, 8),
    )
}

fn config_map(number: usize) -> String {
    let mut yaml = String::from("# configuration\\nserver:\\n  port: 8080\\n  on: \\\"yes\\\"\\n");
    for line in 0..30 {
        write!(yaml, "  {}-{line}: {}\\n", word(number + line), sentence(number + line, 6)).unwrap();
    }
    let metadata = metadata(number, "", r#""f:data":{".":{},"f:app.yaml":{},"f:level":{}}"#);
    format!(
        r#"{{{metadata},"data":{{"app.yaml":"{yaml}","level":"no","port":"0x1F","date":"2022-01-01","version":"1e3","motd":"{}","long":"{}\n {}  \n"}}}}"#,
        sentence(number, 20),
        sentence(number, 12),
        sentence(number, 4)
    )
}

fn secret(number: usize) -> String {
    let base64: String = (0..1200)
        .map(|index| {
            char::from(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(index * index + number * 31) % 64],
            )
        })
        .collect();
    let metadata = metadata(number, "", r#""f:data":{".":{},"f:tls.crt":{},"f:password":{}},"f:type":{}"#);
    format!(
        r#"{{{metadata},"data":{{"password":"{}==","tls.crt":"{base64}","tls.key":"{base64}"}},"type":"Opaque"}}"#,
        &base64[..42]
    )
}

fn container(number: usize) -> String {
    let env: Vec<String> =
        (0..12).map(|index| format!(r#"{{"name":"VAR_{index}","value":"{}"}}"#, sentence(number + index, 3))).collect();
    format!(
        r#"{{"name":"main","image":"registry.example/app-{number}:1.{number}","args":["--flag","--config=/etc/app/app.yaml","{}"],"ports":[{{"name":"http","containerPort":8080,"protocol":"TCP"}}],"env":[{}],"resources":{{"limits":{{"cpu":"100m","memory":"128Mi"}},"requests":{{"cpu":"50m","memory":"64Mi"}}}},"volumeMounts":[{{"name":"config","readOnly":true,"mountPath":"/etc/app"}}],"livenessProbe":{{"httpGet":{{"path":"/live","port":8080,"scheme":"HTTP"}},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}}"#,
        sentence(number, 4),
        env.join(",")
    )
}

fn pod_spec(number: usize, node: &str) -> String {
    format!(
        r#"{{"volumes":[{{"name":"config","configMap":{{"name":"app-{number}","defaultMode":420}}}}],"containers":[{}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"default","serviceAccount":"default"{node},"securityContext":{{}},"schedulerName":"default-scheduler"}}"#,
        container(number)
    )
}

/// What server-side apply tracks of a container.
fn container_fields() -> String {
    let env: Vec<String> = (0..12)
        .map(|index| format!(r#""k:{{\"name\":\"VAR_{index}\"}}":{{".":{{}},"f:name":{{}},"f:value":{{}}}}"#))
        .collect();
    format!(
        r#""f:containers":{{"k:{{\"name\":\"main\"}}":{{".":{{}},"f:args":{{}},"f:env":{{".":{{}},{}}},"f:image":{{}},"f:imagePullPolicy":{{}},"f:livenessProbe":{{".":{{}},"f:failureThreshold":{{}},"f:httpGet":{{".":{{}},"f:path":{{}},"f:port":{{}}}}}},"f:name":{{}},"f:resources":{{".":{{}},"f:limits":{{".":{{}},"f:cpu":{{}}}}}},"f:terminationMessagePath":{{}}}}}},"f:dnsPolicy":{{}},"f:restartPolicy":{{}}"#,
        env.join(",")
    )
}

fn deployment(number: usize) -> String {
    let fields = format!(r#""f:spec":{{"f:replicas":{{}},"f:template":{{"f:spec":{{{}}}}}}}"#, container_fields());
    let metadata = metadata(number, "", &fields);
    let spec = pod_spec(number, "");
    format!(
        r#"{{{metadata},"spec":{{"replicas":2,"selector":{{"matchLabels":{{"app":"app-{number}"}}}},"template":{{"metadata":{{"creationTimestamp":null,"labels":{{"app":"app-{number}"}}}},"spec":{spec}}},"strategy":{{"type":"RollingUpdate","rollingUpdate":{{"maxUnavailable":"25%","maxSurge":"25%"}}}},"revisionHistoryLimit":10,"progressDeadlineSeconds":600}},"status":{{"observedGeneration":1,"replicas":2,"conditions":[{{"type":"Available","status":"True","lastUpdateTime":"2026-01-01T00:00:00Z","reason":"MinimumReplicasAvailable","message":"Deployment has minimum availability."}}]}}}}"#
    )
}

fn pod(number: usize) -> String {
    let owner = r#","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"app-6d4cf56db6","uid":"5c0e5f24-c4d4-4c58-a2b9-8a2f70f0a000","controller":true,"blockOwnerDeletion":true}]"#;
    let fields = format!(r#""f:spec":{{{}}}"#, container_fields());
    let metadata = metadata(number, owner, &fields);
    let spec = pod_spec(number, r#","nodeName":"node-1""#);
    format!(
        r#"{{{metadata},"spec":{spec},"status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-01-01T00:00:00Z"}},{{"type":"PodScheduled","status":"True","lastProbeTime":null,"lastTransitionTime":"2026-01-01T00:00:00Z"}}],"hostIP":"10.0.0.1","podIP":"10.1.2.3","podIPs":[{{"ip":"10.1.2.3"}}],"startTime":"2026-01-01T00:00:00Z","containerStatuses":[{{"name":"main","state":{{"running":{{"startedAt":"2026-01-01T00:00:00Z"}}}},"ready":true,"restartCount":0,"image":"registry.example/app","containerID":"containerd://0123456789abcdef","started":true}}],"qosClass":"Burstable"}}}}"#
    )
}

fn widget(number: usize) -> String {
    let metadata = metadata(number, "", r#""f:spec":{".":{},"f:rules":{}}"#);
    let rules: Vec<String> = (0..20)
        .map(|index| {
            format!(
                r#"{{"enabled":{},"match":"{}","name":"rule-{index}","priority":{index},"ratio":0.{index}5}}"#,
                index % 2 == 0,
                sentence(number + index, 2)
            )
        })
        .collect();
    format!(
        r#"{{"apiVersion":"demo.example/v1","kind":"Widget",{metadata},"spec":{{"description":"{}","rules":[{}],"weights":[1,2,3,5,8,13,21]}},"status":{{"phase":"Ready"}}}}"#,
        sentence(number, 25),
        rules.join(",")
    )
}
