//! The client libraries that push: those of Go, Python and Java, as far as the machine has them.
//!
//! The libraries come from their package registries; where a toolchain or the network is missing, the test says so and ends.

use std::{fs, path::Path, process::Command};

use crate::support::{Gateway, Web};

/// Runs a command; its output if it ended well. Without the program or the network there is none, and a line that says so.
fn prepared(folder: &Path, program: &str, arguments: &[&str]) -> bool {
    match Command::new(program).args(arguments).current_dir(folder).output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            println!(
                "SKIPPED: {program} {arguments:?}: {}",
                String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
            );
            false
        }
        Err(error) => {
            println!("SKIPPED: {program}: {error}");
            false
        }
    }
}

fn run(folder: &Path, program: &str, arguments: &[&str], url: &str) {
    let output = Command::new(program).args(arguments).env("GATEWAY", url).current_dir(folder).output().unwrap();
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_go_library_pushes() {
    let (gateway, web) = (Gateway::start(&[]).await, Web::new());
    let folder = gateway.folder();
    fs::write(folder.join("go.mod"), "module push\n\ngo 1.23\n\nrequire github.com/prometheus/client_golang v1.22.0\n")
        .unwrap();
    let program = r#"package main

import (
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/push"
)

func main() {
	waits := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "waits_seconds", Help: "Waits.", Buckets: []float64{1, 5}, NativeHistogramBucketFactor: 1.1,
	})
	waits.Observe(3)
	done := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "done_total", Help: "Done."}, []string{"what"})
	done.WithLabelValues("ü\"\n").Add(5)
	pusher := push.New(os.Getenv("GATEWAY"), "go/job").Grouping("instance", "").Grouping("zone", "a").Collector(waits).Collector(done)
	if err := pusher.Push(); err != nil {
		panic(err)
	}
	if err := pusher.Add(); err != nil {
		panic(err)
	}
	other := push.New(os.Getenv("GATEWAY"), "gone").Collector(done)
	if err := other.Push(); err != nil {
		panic(err)
	}
	if err := other.Delete(); err != nil {
		panic(err)
	}
}
"#;
    fs::write(folder.join("main.go"), program).unwrap();
    if !prepared(folder, "go", &["mod", "tidy"]) || !prepared(folder, "go", &["build", "-o", "push", "."]) {
        return;
    }
    run(folder, "./push", &[], &gateway.url());
    let shown = web.scrape(&gateway.url()).await;
    for line in [
        "done_total{instance=\"\",job=\"go/job\",what=\"ü\\\"\\n\",zone=\"a\"} 5",
        "waits_seconds_bucket{instance=\"\",job=\"go/job\",zone=\"a\",le=\"5\"} 1",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    assert!(!shown.contains("gone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_library_pushes() {
    let (gateway, web) = (Gateway::start(&[]).await, Web::new());
    let folder = gateway.folder();
    let program = r#"
import os, sys
sys.path.insert(0, "lib")
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, push_to_gateway, pushadd_to_gateway, delete_from_gateway, instance_ip_grouping_key
registry = CollectorRegistry()
Counter("done", "Done.", ["what"], registry=registry).labels("x").inc(5)
Histogram("waits_seconds", "Waits.", buckets=(1, 5), registry=registry).observe(3)
Summary("sizes", "Sizes.", registry=registry).observe(3)
url = os.environ["GATEWAY"]
push_to_gateway(url, job="python/job", registry=registry, grouping_key={"zone": "a/b"})
pushadd_to_gateway(url, job="python/job", registry=registry, grouping_key={"zone": "a/b"})
push_to_gateway(url, job="gone", registry=registry)
delete_from_gateway(url, job="gone")
"#;
    fs::write(folder.join("push.py"), program).unwrap();
    if !prepared(
        folder,
        "python3",
        &["-m", "pip", "install", "--quiet", "--target", "lib", "prometheus-client==0.21.1"],
    ) {
        return;
    }
    run(folder, "python3", &["push.py"], &gateway.url());
    let shown = web.scrape(&gateway.url()).await;
    for line in [
        "done_total{instance=\"\",job=\"python/job\",what=\"x\",zone=\"a/b\"} 5",
        "waits_seconds_bucket{instance=\"\",job=\"python/job\",zone=\"a/b\",le=\"5\"} 1",
        "sizes_count{instance=\"\",job=\"python/job\",zone=\"a/b\"} 1",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    assert!(!shown.contains("gone"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_java_library_pushes() {
    let (gateway, web) = (Gateway::start(&[]).await, Web::new());
    let folder = gateway.folder();
    let project = r#"<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>push</groupId>
<artifactId>push</artifactId><version>1</version><dependencies>
<dependency><groupId>io.prometheus</groupId><artifactId>prometheus-metrics-core</artifactId><version>1.3.5</version></dependency>
<dependency><groupId>io.prometheus</groupId><artifactId>prometheus-metrics-exporter-pushgateway</artifactId><version>1.3.5</version></dependency>
</dependencies></project>
"#;
    let program = r#"import io.prometheus.metrics.core.metrics.*;
import io.prometheus.metrics.exporter.pushgateway.*;

public class Push {
    public static void main(String[] args) throws Exception {
        Counter done = Counter.builder().name("done_total").help("Done.").labelNames("what").register();
        done.labelValues("x").inc(5);
        Histogram waits = Histogram.builder().name("waits_seconds").help("Waits.").classicUpperBounds(1, 5).register();
        waits.observe(3);
        String address = System.getenv("GATEWAY").replace("http://", "");
        for (Format format : Format.values()) {
            PushGateway gateway = PushGateway.builder().address(address).job("java/job").groupingKey("format", format.name()).format(format).build();
            gateway.push();
            gateway.pushAdd();
        }
        PushGateway gone = PushGateway.builder().address(address).job("gone").build();
        gone.push();
        gone.delete();
    }
}
"#;
    fs::write(folder.join("pom.xml"), project).unwrap();
    fs::write(folder.join("Push.java"), program).unwrap();
    if !prepared(folder, "mvn", &["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]) {
        return;
    }
    run(folder, "java", &["-cp", "lib/*", "Push.java"], &gateway.url());
    let shown = web.scrape(&gateway.url()).await;
    assert!(
        shown.contains("done_total{format=\"PROMETHEUS_PROTOBUF\",instance=\"\",job=\"java/job\",what=\"x\"} 5"),
        "{shown}"
    );
    assert!(
        shown.contains("waits_seconds_bucket{format=\"PROMETHEUS_TEXT\",instance=\"\",job=\"java/job\",le=\"5\"} 1"),
        "{shown}"
    );
    assert!(!shown.contains("gone"));
}
