//! How fast JSON becomes YAML on one core: `cargo run --release -p dumper --example emitter [LIST body …]`.
//!
//! Without arguments the corpus is generated: pages of ConfigMaps, Secrets, Deployments, Pods and custom resources as an API server writes them. Arguments are
//! files with bodies of LIST responses (`kubectl get --raw /api/v1/pods > pods.json`). All figures are MB of JSON a second, the median of
//! [`ROUNDS`] interleaved rounds. `REPEAT_SECONDS=5` repeats the last step alone, for a profiler.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement: it prints, and a panic is the report")]

mod corpus;
mod serde_tape;

use std::hint::black_box;
use std::time::Instant;

use dumper::json::{ListPage, Tape, Value};
use dumper::object::{Meta, Status, TypeInfo, render};
use dumper::sanitize::Rules;
use serde::de::IgnoredAny;

const ROUNDS: usize = 15;

struct Page {
    name: String,
    api_version: String,
    kind: String,
    body: Vec<u8>,
}

/// Returns something that depends on all of its work.
type Step = fn(&Page) -> usize;

fn main() {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let pages = if files.is_empty() { corpus::pages() } else { files.iter().map(|file| read(file)).collect() };
    let steps: &[(&str, Step)] = &[
        ("serde_json, tree of values", serde_tree),
        ("serde_json, skipping everything", serde_skip),
        ("serde_json, filling the tape", |page| serde_tape::parse(&page.body)),
        ("tape", tape),
        ("tape, identity and age", meta),
        ("tape, YAML", yaml),
        ("tape, identity, sanitised YAML", everything),
    ];
    if let Some(seconds) = std::env::var("REPEAT_SECONDS").ok().and_then(|seconds| seconds.parse().ok()) {
        return repeat(&pages, seconds);
    }
    println!(
        "{:34} {:>9} {:>9} {}",
        "MB/s of JSON",
        "all",
        "",
        pages.iter().map(|page| format!("{:>12}", page.name)).collect::<String>()
    );
    let mut seconds = vec![vec![Vec::new(); pages.len()]; steps.len()];
    for _ in 0..ROUNDS {
        for (step, (_, run)) in steps.iter().enumerate() {
            for (number, page) in pages.iter().enumerate() {
                let start = Instant::now();
                black_box(run(black_box(page)));
                seconds[step][number].push(start.elapsed().as_secs_f64());
            }
        }
    }
    for (step, (name, _)) in steps.iter().enumerate() {
        report(name, &pages, &mut seconds[step]);
    }
    let (json, yaml): (usize, usize) =
        pages.iter().fold((0, 0), |(json, yaml), page| (json + page.body.len(), yaml + everything(page)));
    println!("{:.1} MB of JSON became {:.1} MB of YAML", json as f64 / 1e6, yaml as f64 / 1e6);
}

/// Only the last step, for a profiler.
fn repeat(pages: &[Page], seconds: f64) {
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        black_box(pages.iter().map(everything).sum::<usize>());
    }
}

fn report(name: &str, pages: &[Page], seconds: &mut [Vec<f64>]) {
    let medians: Vec<f64> = seconds.iter_mut().map(|rounds| median(rounds)).collect();
    let speed = |bytes: usize, seconds: f64| bytes as f64 / seconds / 1e6;
    let all = speed(pages.iter().map(|page| page.body.len()).sum(), medians.iter().sum());
    let each: String =
        pages.iter().zip(&medians).map(|(page, median)| format!("{:>12.0}", speed(page.body.len(), *median))).collect();
    println!("{name:34} {all:9.0} {:>9} {each}", "");
}

fn median(rounds: &mut [f64]) -> f64 {
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn read(file: &str) -> Page {
    let body = std::fs::read(file).unwrap();
    let mut tape = Tape::new();
    let list = tape.parse(&body).unwrap().root();
    let text = |name| list.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind").trim_end_matches("List").to_owned());
    Page { name: kind.chars().take(11).collect(), api_version, kind, body }
}

fn serde_tree(page: &Page) -> usize {
    serde_json::from_slice::<serde_json::Value>(&page.body).unwrap().as_object().unwrap().len()
}

fn serde_skip(page: &Page) -> usize {
    serde_json::from_slice::<IgnoredAny>(&page.body).unwrap();
    1
}

fn tape(page: &Page) -> usize {
    each_item(page, |_| 1)
}

fn meta(page: &Page) -> usize {
    each_item(page, |item| Meta::read(item, Status::Dropped).unwrap().name.len())
}

fn yaml(page: &Page) -> usize {
    let mut out = Vec::new();
    each_item(page, |item| {
        out.clear();
        render(item, type_of(page), None, &mut out).unwrap();
        black_box(&out).len()
    })
}

fn everything(page: &Page) -> usize {
    let mut out = Vec::new();
    each_item(page, |item| {
        out.clear();
        black_box(Meta::read(item, Status::Dropped).unwrap());
        render(item, type_of(page), Some(Rules::standard()), &mut out).unwrap();
        black_box(&out).len()
    })
}

fn type_of(page: &Page) -> TypeInfo<'_> {
    TypeInfo { api_version: &page.api_version, kind: &page.kind }
}

fn each_item(page: &Page, mut with: impl FnMut(Value<'_>) -> usize) -> usize {
    let mut tape = Tape::new();
    let mut list = ListPage::new(&page.body).unwrap();
    let mut sum = 0;
    while let Some(item) = list.next_item(&mut tape).unwrap() {
        sum += with(item.root());
    }
    sum
}
