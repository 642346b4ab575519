//! The page for people.

use http::Method;

use crate::support::{Gateway, Web};

#[tokio::test]
async fn the_page_shows_groups_finds_them_and_escapes_everything() {
    let (gateway, web) = (Gateway::start(&[]).await, Web::new());
    for number in 0..120 {
        web.put(&format!("{}/metrics/job/j{number}", gateway.url()), "a{x=\"<script>alert('1')</script>\"} 5\n").await;
    }
    web.put(&format!("{}/metrics/job/%3Cb%3E", gateway.url()), "# HELP only_here <i>\nonly_here 1\n").await;
    web.put(&format!("{}/metrics/job/j7", gateway.url()), "b 1 5\n").await;
    let page = |query: &'static str| {
        let (web, url) = (&web, format!("{}/{query}", gateway.url()));
        async move { web.get(&url).await }
    };
    let first = page("").await;
    assert!(first.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let text = first.text();
    assert!(text.contains("121 groups") && text.contains("page 1 of 2") && text.contains("last push failed"));
    assert!(!text.contains("<script") && !text.contains("<b><") && text.contains("&lt;script&gt;"));
    let found = page("?q=only_HERE").await.text();
    assert!(found.contains("1 of 121 groups") && found.contains("&lt;b&gt;") && found.contains("&lt;i&gt;"));
    assert!(page("?q=%22%3E%3Cscript%3E").await.text().contains("No groups."));
    assert!(
        page("?page=99999999999999999999").await.status == 200 && page("?page=2").await.text().contains("page 2 of 2")
    );
}

#[tokio::test]
async fn a_group_is_deleted_from_the_page_but_not_from_another_site() {
    let (gateway, web) = (Gateway::start(&[]).await, Web::new());
    web.put(&format!("{}/metrics/job/j/empty@base64/=", gateway.url()), "a 1\n").await;
    let text = web.get(&format!("{}/", gateway.url())).await.text();
    let form = text.split("name=group value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let body = form_urlencoded::Serializer::new(String::new()).append_pair("group", &form).finish();
    let delete = |site: &'static str| {
        let (web, url, body) = (&web, format!("{}/-/delete", gateway.url()), body.clone());
        async move { web.send(&Method::POST, &url, &[("sec-fetch-site", site)], body).await.status.as_u16() }
    };
    assert_eq!(delete("cross-site").await, 403);
    assert!(web.scrape(&gateway.url()).await.contains("empty"));
    assert_eq!(delete("same-origin").await, 303);
    assert!(!web.scrape(&gateway.url()).await.contains("empty"));
}
