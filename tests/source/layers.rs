//! The import table of the crate: a layer may only use the layers above it in the table,
//! and inside a layer no two folders use each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Item, ItemUse, Visibility};

use crate::resolve::Target;
use crate::tree::{Module, ModulePath, SourceTree, used_names};

/// Each top-level module of `src`, and the modules it may use.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("files", &["error"]),
    ("backend", &[]),
    ("kernels", &["error"]),
    ("nn", &["kernels", "error"]),
    ("weights", &["kernels", "files", "error"]),
    ("text", &["files", "error"]),
    ("image", &["files", "error"]),
    ("generation", &["kernels", "nn", "text", "error"]),
    (
        "models",
        &[
            "kernels",
            "nn",
            "weights",
            "text",
            "image",
            "generation",
            "files",
            "error",
        ],
    ),
    (
        "pipeline",
        &[
            "backend",
            "kernels",
            "nn",
            "weights",
            "text",
            "image",
            "models",
            "generation",
            "files",
            "error",
        ],
    ),
];

/// Which modules each module uses.
type Uses = BTreeMap<ModulePath, BTreeSet<ModulePath>>;

#[test]
fn layers_import_only_what_the_table_lets_them() {
    let tree = SourceTree::of_this_crate();
    let mut broken = BTreeSet::new();
    for (module, Module { items, .. }) in &tree.modules {
        let Some(layer) = module.first() else {
            continue;
        };
        let row = MAY_IMPORT.iter().find(|(name, _)| name == layer);
        let (_, allowed) = row.unwrap_or_else(|| panic!("`{layer}` has no row in the table"));
        for path in items.iter().flat_map(used_paths) {
            let used = layers_of(&tree, module, &path);
            let is_allowed = |used: &String| used == layer || allowed.contains(&&**used);
            if !used.iter().all(is_allowed) {
                broken.insert(format!(
                    "`{}` uses `{}`, but `{layer}` may use {allowed:?}",
                    written(module),
                    path.join("::")
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The layers that a path goes to: the one it names, which may show what others define. A path
/// that begins with neither `crate` nor `super` goes where a `use` has led already.
fn layers_of(tree: &SourceTree, module: &[String], path: &[String]) -> Vec<String> {
    let is_layer = |name: &String| tree.modules.contains_key(std::slice::from_ref(name));
    match path {
        [first, layer, ..] if first == "crate" && is_layer(layer) => vec![layer.clone()],
        [first, ..] if first == "crate" || first == "super" => {
            let targets = tree.resolve(module, path).into_iter();
            let layer = |target: Target| target.module().first().cloned();
            targets
                .map(|to| layer(to).unwrap_or("lib".to_string()))
                .collect()
        }
        _ => vec![],
    }
}

#[test]
fn the_table_never_climbs() {
    for (index, (layer, allowed)) in MAY_IMPORT.iter().enumerate() {
        for name in *allowed {
            let is_below = MAY_IMPORT[..index].iter().any(|(below, _)| below == name);
            assert!(
                is_below,
                "`{layer}` may use `{name}`, which has no row above it"
            );
        }
    }
}

#[test]
fn no_two_folders_use_each_other() {
    let circles = circles(&SourceTree::of_this_crate());
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn a_use_is_found_wherever_it_stands() {
    let tree = tree(&[
        (
            "lib.rs",
            "mod a; mod b; mod c; mod d; pub use d::deep::Thing as Other;",
        ),
        (
            "a.rs",
            "use crate::{b::{self, B}, Other};
             // crate::ignored in a comment
             fn f() { let x = \"crate::d\"; call!(super::c::C); b::f::<u8>(std::mem::take) }
             #[cfg(test)] mod tests { use crate::d::D; }",
        ),
        ("b.rs", "pub struct B; pub fn f() {}"),
        ("c.rs", "pub struct C;"),
        ("d/mod.rs", "pub mod deep; pub struct D;"),
        ("d/deep.rs", "pub struct Thing;"),
    ]);
    let used: Vec<String> = uses(&tree)[&vec!["a".to_string()]]
        .iter()
        .map(|to| written(to))
        .collect();
    assert_eq!(used, ["b", "c", "d::deep"]);
}

#[test]
fn two_folders_that_use_each_other_are_a_circle_and_two_files_of_one_are_none() {
    let lib = ("lib.rs", "mod a; mod b;");
    let parent = (
        "a/mod.rs",
        "mod x; mod y; pub use x::X; pub struct A; fn f() { x::f() }",
    );
    let x = (
        "a/x.rs",
        "use super::{A, y::Y}; pub struct X; pub fn f() {}",
    );
    let y = ("a/y.rs", "use super::X; pub struct Y; use crate::b::B;");
    let apart = tree(&[lib, parent, x, y, ("b.rs", "pub struct B;")]);
    assert_eq!(circles(&apart), BTreeSet::new());
    let joined = tree(&[lib, parent, x, y, ("b.rs", "pub struct B(crate::a::X);")]);
    let circle = "a::x -> a::y -> b -> a::x".to_string();
    assert_eq!(circles(&joined), BTreeSet::from([circle]));
}

fn tree(files: &[(&str, &str)]) -> SourceTree {
    let files = files
        .iter()
        .map(|(name, text)| (name.to_string(), text.to_string()));
    SourceTree::parse(&files.collect())
}

/// What each module uses, by the modules that define it.
fn uses(tree: &SourceTree) -> Uses {
    let of_module = |(module, Module { items, .. }): (&ModulePath, &Module)| {
        let used = items.iter().flat_map(|item| used_by(tree, module, item));
        let others = used.filter(|target| target != module);
        (module.clone(), others.collect())
    };
    tree.modules.iter().map(of_module).collect()
}

fn used_by(tree: &SourceTree, module: &ModulePath, item: &Item) -> Vec<ModulePath> {
    // A module that shows what lies inside it does not use it.
    let is_shown = |target: &ModulePath| match item {
        Item::Use(item) => is_re_export(item) && target.starts_with(module),
        _ => false,
    };
    let paths = used_paths(item);
    let targets = paths.iter().flat_map(|path| tree.resolve(module, path));
    let modules = targets.map(|target| target.module().clone());
    modules.filter(|target| !is_shown(target)).collect()
}

fn used_paths(item: &Item) -> Vec<Vec<String>> {
    match item {
        Item::Use(item) => used_names(&item.tree)
            .into_iter()
            .map(|used| used.path)
            .collect(),
        Item::Mod(_) => vec![],
        item => paths_in(item.to_token_stream()),
    }
}

fn is_re_export(item: &ItemUse) -> bool {
    !matches!(item.vis, Visibility::Inherited)
}

/// Every path of two names or more, in macros too.
fn paths_in(tokens: TokenStream) -> Vec<Vec<String>> {
    let mut paths = vec![vec![]];
    let mut colons = 0;
    for token in tokens {
        match &token {
            TokenTree::Punct(mark) if mark.as_char() == ':' => {
                colons += 1;
                continue;
            }
            TokenTree::Ident(name) => {
                if colons != 2 {
                    paths.push(vec![]);
                }
                paths
                    .last_mut()
                    .expect("never empty")
                    .push(name.to_string());
            }
            TokenTree::Group(group) => paths.extend(paths_in(group.stream())),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        if !matches!(token, TokenTree::Ident(_)) {
            paths.push(vec![]);
        }
        colons = 0;
    }
    paths.retain(|path| path.len() > 1);
    paths
}

/// The circles that leave a folder, but for those through the module that holds all of the circle:
/// it may call what lies inside it, which may name its types.
fn circles(tree: &SourceTree) -> BTreeSet<String> {
    let uses = uses(tree);
    let mut circles = BTreeSet::new();
    for parent in uses.keys() {
        let inside = uses.iter().filter(|(module, _)| lies_in(module, parent));
        let inside: Uses = inside
            .map(|(to, used)| (to.clone(), used.clone()))
            .collect();
        let child = |module: &ModulePath| module[parent.len()].clone();
        let folder = |module: &ModulePath| &tree.modules[module].folder;
        for (from, used) in &inside {
            let others = used.iter().filter(|to| lies_in(to, parent));
            let others = others.filter(|to| child(to) != child(from) && folder(to) != folder(from));
            circles.extend(others.filter_map(|to| shortest_way(&inside, to, from).map(drawn)));
        }
    }
    circles
}

fn lies_in(module: &[String], parent: &[String]) -> bool {
    module.len() > parent.len() && module.starts_with(parent)
}

/// The fewest uses that lead from one module to another, if any do.
fn shortest_way(uses: &Uses, from: &ModulePath, to: &ModulePath) -> Option<Vec<ModulePath>> {
    let mut ways = VecDeque::from([vec![from.clone()]]);
    let mut seen = BTreeSet::from([from]);
    while let Some(way) = ways.pop_front() {
        let last = way.last().expect("a way has a start");
        if last == to {
            return Some(way);
        }
        for next in uses.get(last).into_iter().flatten() {
            if seen.insert(next) {
                ways.push_back([&way[..], std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

/// A circle from its first module back to it, the same wherever it was found.
fn drawn(mut circle: Vec<ModulePath>) -> String {
    let first = circle.iter().enumerate().min_by_key(|(_, module)| *module);
    let (first, _) = first.expect("a circle has modules");
    circle.rotate_left(first);
    circle.push(circle[0].clone());
    let names: Vec<String> = circle.iter().map(|module| written(module)).collect();
    names.join(" -> ")
}

fn written(module: &[String]) -> String {
    match module.is_empty() {
        true => "lib".to_string(),
        false => module.join("::"),
    }
}
