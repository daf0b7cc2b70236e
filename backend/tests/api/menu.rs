//! The menu: lists and search.

use reqwest::header::LINK;
use serde_json::Value;

use crate::support::{Servers, TestDatabase, start};

#[tokio::test]
async fn pages_show_every_product_once() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    let client = database.client().await;
    let count: i64 = client.query_one("SELECT count(*) FROM products", &[]).await.unwrap().get(0);
    // Equal names, so that the order needs more than the name.
    client.batch_execute("UPDATE products SET name = 'Same' WHERE price_cents > 1200").await.unwrap();

    for filter in ["", "&q=grilled+beef"] {
        let mut path = format!("/api/products?limit=7{filter}");
        let mut ids = Vec::new();
        loop {
            let response = api.get(&path).await;
            let link = response.headers().get(LINK).map(|link| link.to_str().unwrap().to_owned());
            let page: Value = response.json().await.unwrap();
            let items = page["items"].as_array().unwrap();
            ids.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(link) = link else {
                assert_eq!(page["next_cursor"], Value::Null);
                break;
            };
            assert_eq!(items.len(), 7);
            assert!(link.contains(page["next_cursor"].as_str().unwrap()), "{link}");
            link.split(['<', '>']).nth(1).unwrap().clone_into(&mut path);
        }
        assert_eq!(ids.len(), usize::try_from(count).unwrap(), "`{filter}`");
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), usize::try_from(count).unwrap(), "`{filter}` repeats products");
    }

    let desserts = api.json("/api/products?category=desserts&limit=100").await;
    let desserts = desserts["items"].as_array().unwrap();
    assert!(!desserts.is_empty() && desserts.iter().all(|item| item["category"]["slug"] == "desserts"));
    service.stop();
}

#[tokio::test]
async fn search_forgives_misspellings() {
    let Some(servers) = Servers::find() else { return };
    let database = TestDatabase::filled(&servers).await;
    let (service, api) = start(&servers, &database);
    for (query, name) in [("choclate+vulcano", "Chocolate volcano"), ("torrontes", "Torrontés, glass")] {
        let found = api.json(&format!("/api/products?q={query}&limit=3")).await;
        assert_eq!(found["items"][0]["name"], name, "{found}");
        assert!(found["items"][0]["score"].as_f64() > found["items"][1]["score"].as_f64(), "{found}");
    }
    service.stop();
}
