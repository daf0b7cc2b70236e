//! Vectors for search by likeness, without a model: words and their three- and four-letter pieces are hashed into 384
//! dimensions. It forgives misspellings and needs no download; it knows nothing of meaning, so a short list of related
//! words stands in for that.

/// How many numbers a vector has, as in the column's type.
pub const DIMENSIONS: usize = 384;

/// The name that goes with the vectors. Change it with anything that changes a vector.
pub const MODEL: &str = "hash-v1";

/// What guests say, and the words of a menu it is about.
const RELATED: &[(&str, &[&str])] = &[
    ("sweet", &["dessert", "cake", "caramel", "chocolate", "ice"]),
    ("dessert", &["cake", "custard", "biscuit", "ice"]),
    ("seafood", &["prawns", "squid", "fish", "mussels"]),
    ("fish", &["salmon", "hake", "trout"]),
    ("shrimp", &["prawns"]),
    ("meat", &["beef", "steak", "pork", "ribs", "chicken"]),
    ("veggie", &["vegetarian", "vegan", "vegetable"]),
    ("starter", &["empanada", "soup", "salad"]),
    ("drink", &["wine", "beer", "water", "lemonade", "coffee"]),
    ("noodles", &["spaghetti", "fettuccine"]),
];

/// Makes a vector of length 1, or none when the text has no word.
pub fn embed(text: &str) -> Option<Vec<f32>> {
    let mut vector = vec![0.0_f32; DIMENSIONS];
    for word in words(text) {
        add_word(&mut vector, &word, 1.0);
        let singular = word.strip_suffix('s').unwrap_or(&word);
        for (_, related) in RELATED.iter().filter(|(said, _)| said.strip_suffix('s').unwrap_or(said) == singular) {
            for word in *related {
                add_word(&mut vector, word, 0.5);
            }
        }
    }
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length == 0.0 {
        return None;
    }
    for x in &mut vector {
        *x /= length;
    }
    Some(vector)
}

/// Adds a word: itself, and its pieces with a weight that does not depend on how long it is.
#[expect(clippy::cast_precision_loss, reason = "words are short")]
fn add_word(vector: &mut [f32], word: &str, weight: f32) {
    add(vector, word.as_bytes(), weight);
    let marked: Vec<char> = std::iter::once('^').chain(word.chars()).chain(std::iter::once('$')).collect();
    let pieces: Vec<String> =
        [3, 4].iter().flat_map(|&n| marked.windows(n).map(|piece| piece.iter().collect())).collect();
    let share = 1.5 * weight / (pieces.len().max(1) as f32).sqrt();
    for piece in pieces {
        add(vector, piece.as_bytes(), share);
    }
}

/// Adds a feature at the place its hash names, with the sign its hash names, so that collisions cancel on average.
fn add(vector: &mut [f32], feature: &[u8], weight: f32) {
    let hash = fnv1a(feature);
    let place = usize::try_from(hash % DIMENSIONS as u64).expect("below 384");
    vector[place] += if hash >> 63 == 0 { weight } else { -weight };
}

/// FNV-1a with a final mix; the standard hasher may change with the compiler, stored vectors must not.
fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// Splits into lower-case words without accents; words that carry no meaning are left out, unless there are no others.
fn words(text: &str) -> Vec<String> {
    const EMPTY: &[&str] =
        &["a", "an", "and", "the", "of", "with", "in", "on", "from", "for", "to", "or", "de", "la", "g", "its"];
    let all: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().flat_map(char::to_lowercase).map(without_accent).collect())
        .collect();
    let telling: Vec<String> = all.iter().filter(|word| !EMPTY.contains(&word.as_str())).cloned().collect();
    if telling.is_empty() { all } else { telling }
}

fn without_accent(c: char) -> char {
    match c {
        'á' | 'à' | 'â' | 'ä' | 'ã' | 'å' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'ö' | 'õ' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ñ' => 'n',
        'ç' => 'c',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::menu::Menu;

    fn nearest(query: &str, count: usize) -> Vec<String> {
        let menu = Menu::built_in();
        let query = embed(query).expect("the query has words");
        let mut ranked: Vec<(f32, String)> = menu
            .products
            .iter()
            .map(|product| {
                let vector = embed(&product.text(&menu)).expect("a product has words");
                (vector.iter().zip(&query).map(|(a, b)| a * b).sum(), product.slug.clone())
            })
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.into_iter().take(count).map(|(_, slug)| slug).collect()
    }

    #[test]
    fn vectors_have_length_one() {
        let vector = embed("Ribeye steak").unwrap();
        assert_eq!(vector.len(), DIMENSIONS);
        assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        assert_eq!(embed(" ,;- "), None);
        assert!(embed("the").is_some());
    }

    #[test]
    fn accents_and_case_do_not_count() {
        assert_eq!(embed("TORRONTÉS"), embed("torrontes"));
        assert_ne!(embed("torrontes"), embed("malbec"));
    }

    #[test]
    fn stored_vectors_stay_comparable() {
        // If this fails, `MODEL` needs a new name and the stored vectors a migration.
        let vector = embed("Beef empanada, dessert").unwrap();
        let rounded: Vec<u8> = vector.iter().flat_map(|x| (x * 1000.0).round().to_string().into_bytes()).collect();
        assert_eq!(fnv1a(&rounded), 2_296_328_283_027_640_796);
    }

    #[test]
    fn misspelled_and_related_words_find_the_dish() {
        for (query, slug) in [
            ("ribeye steak", "ribeye"),
            ("ribeye stake", "ribeye"),
            ("chocolat vulcano", "chocolate-volcano"),
            ("mushrom raviolis", "mushroom-ravioli"),
            ("grilled salmn", "grilled-salmon"),
            ("pizza margarita", "margherita"),
            ("garlic shrimp", "garlic-prawns"),
            ("seafood paela", "seafood-paella"),
            ("ice creem", "ice-cream"),
            ("empanada beef", "beef-empanada"),
        ] {
            let found = nearest(query, 3);
            assert!(found.iter().any(|one| one == slug), "`{query}` found {found:?}");
        }
    }

    #[test]
    fn words_of_a_kind_find_their_kind() {
        let menu = Menu::built_in();
        for (query, category) in
            [("dessert", "desserts"), ("seafood", "seafood"), ("pizza", "pizza"), ("wine", "drinks")]
        {
            let first = &nearest(query, 2);
            for slug in first {
                let product = menu.products.iter().find(|product| product.slug == *slug).unwrap();
                assert_eq!(product.category, category, "`{query}` found {first:?}");
            }
        }
    }
}
