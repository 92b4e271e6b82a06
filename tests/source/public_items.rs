//! The public items of this crate, so that a change to them is seen: `public_items.txt` has a line
//! for each, under every path it can be named by.
//!
//! What macros write is not in the sources, such as the builders of `#[derive(Config)]`, and
//! implementations of traits are not listed. Features count as on, except `testing`.
//!
//! `BURN_VLM_BLESS=1 cargo test --test source public_items` writes the file anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::{Attribute, Field, ImplItem, Item, ItemImpl, Meta, TraitItem, Type, Visibility};

use crate::resolve::{Target, child};
use crate::tree::{Module, SourceTree, attributes, is_cfg, name_of, used_names};

#[test]
fn the_public_items_are_those_of_the_list() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/source/public_items.txt");
    let found = public_items(&SourceTree::of_this_crate());
    if std::env::var_os("BURN_VLM_BLESS").is_some() {
        let text = found.iter().map(|line| format!("{line}\n"));
        fs::write(&path, text.collect::<String>()).expect("the list is writable");
    }
    let listed = fs::read_to_string(&path).expect("the list is part of the repository");
    let listed: BTreeSet<String> = listed.lines().map(str::to_string).collect();
    let gone = listed.difference(&found).map(|line| format!("- {line}"));
    let new = found.difference(&listed).map(|line| format!("+ {line}"));
    let changes: Vec<String> = gone.chain(new).collect();
    assert!(
        changes.is_empty(),
        "the public items changed; `BURN_VLM_BLESS=1` writes the list anew:\n{}",
        changes.join("\n")
    );
}

#[test]
fn what_can_be_named_from_outside_is_found_and_nothing_else() {
    let files = [
        (
            "lib.rs",
            "mod shapes; pub mod text; pub use shapes::{Square as Box, *}; pub use half::f16;
             mod hidden { pub struct Unreachable; }
             #[cfg(feature = \"testing\")] pub fn fixture() {}
             #[doc(hidden)] pub fn internal() {}
             #[cfg(test)] pub mod tests {}",
        ),
        (
            "shapes/mod.rs",
            "mod square; pub use square::Square; pub(crate) fn helper() {}
             pub enum Side { Left, Of { width: f32 } }
             pub trait Area { const UNIT: f32; type Number; fn area(&self); }",
        ),
        (
            "shapes/square.rs",
            "pub struct Square { pub width: f32, height: f32 }
             impl Square { pub fn new() {} fn secret() {} pub const UNIT: f32 = 1.0; }
             impl Drop for Square { fn drop(&mut self) {} }",
        ),
        (
            "text.rs",
            "pub type Id = u32; pub const MAX: Id = 9; pub fn read() {}",
        ),
    ];
    let expected = [
        "Area (trait)",
        "Area::Number (type)",
        "Area::UNIT (const)",
        "Area::area (fn)",
        "Box (struct)",
        "Box::UNIT (const)",
        "Box::new (fn)",
        "Box::width (field)",
        "Side (enum)",
        "Side::Left (variant)",
        "Side::Of (variant)",
        "Side::Of::width (field)",
        "Square (struct)",
        "Square::UNIT (const)",
        "Square::new (fn)",
        "Square::width (field)",
        "f16 (half::f16)",
        "text (mod)",
        "text::Id (type)",
        "text::MAX (const)",
        "text::read (fn)",
    ];
    let files = files.map(|(name, text)| (name.to_string(), text.to_string()));
    let found = public_items(&SourceTree::parse(&BTreeMap::from(files)));
    assert_eq!(
        found.iter().map(String::as_str).collect::<Vec<_>>(),
        expected
    );
}

fn public_items(tree: &SourceTree) -> BTreeSet<String> {
    let mut list = PublicItems {
        tree,
        methods: BTreeMap::new(),
        lines: BTreeSet::new(),
    };
    list.collect_methods();
    list.list_module(&[], "");
    list.lines
}

struct PublicItems<'a> {
    tree: &'a SourceTree,
    /// What the inherent `impl` blocks give each type, wherever they stand.
    methods: BTreeMap<Target, Vec<String>>,
    lines: BTreeSet<String>,
}

impl PublicItems<'_> {
    fn collect_methods(&mut self) {
        for (module, Module { items, .. }) in &self.tree.modules {
            for item in items.iter().filter(|item| !is_left_out(attributes(item))) {
                let Item::Impl(block) = item else { continue };
                if let Some(path) = inherent_type(block) {
                    for target in self.tree.resolve(module, &path) {
                        let methods = self.methods.entry(target).or_default();
                        methods.extend(block.items.iter().filter_map(method));
                    }
                }
            }
        }
    }

    /// Lists what a module shows, behind `prefix`, which is empty or ends in `::`.
    fn list_module(&mut self, module: &[String], prefix: &str) {
        let items = self.tree.modules[module].items.iter();
        for item in items.filter(|item| !is_left_out(attributes(item)) && is_public(item)) {
            match item {
                Item::Use(item) => {
                    for used in used_names(&item.tree) {
                        self.list_use(module, &used.path, used.name.as_deref(), prefix);
                    }
                }
                Item::Mod(inner) => {
                    let name = inner.ident.to_string();
                    self.list_as(&Target::Module(child(module, &name)), &name, prefix);
                }
                item => {
                    let name = name_of(item).expect("what is public has a name");
                    self.list_item(module, item, &name, prefix);
                }
            }
        }
    }

    fn list_use(&mut self, from: &[String], path: &[String], name: Option<&str>, prefix: &str) {
        let targets = self.tree.resolve(from, path);
        if targets.is_empty() {
            let name = name.unwrap_or("*");
            self.lines
                .insert(format!("{prefix}{name} ({})", path.join("::")));
        }
        for target in targets {
            match name {
                Some(name) => self.list_as(&target, name, prefix),
                None => self.list_module(target.module(), prefix),
            }
        }
    }

    /// Lists a module or an item under the name it goes by.
    fn list_as(&mut self, target: &Target, name: &str, prefix: &str) {
        match target {
            Target::Module(module) => {
                self.lines.insert(format!("{prefix}{name} (mod)"));
                self.list_module(module, &format!("{prefix}{name}::"));
            }
            Target::Item { module, name: own } => {
                let is_it = |item: &&Item| name_of(item).as_ref() == Some(own);
                let items = self.tree.modules[module].items.iter();
                for item in items
                    .filter(is_it)
                    .filter(|item| !is_left_out(attributes(item)))
                {
                    self.list_item(module, item, name, prefix);
                }
            }
            Target::Unknown { module } => {
                panic!("`{prefix}{name}` is not found in `{}`", module.join("::"))
            }
        }
    }

    fn list_item(&mut self, module: &[String], item: &Item, name: &str, prefix: &str) {
        let (kind, members) = kind_and_members(item);
        let target = Target::Item {
            module: module.to_vec(),
            name: name_of(item).expect("an item that is listed has a name"),
        };
        self.lines.insert(format!("{prefix}{name} ({kind})"));
        let methods = self.methods.get(&target).into_iter().flatten();
        let members = members.iter().chain(methods);
        let lines = members.map(|member| format!("{prefix}{name}::{member}"));
        self.lines.extend(lines.collect::<Vec<_>>());
    }
}

/// What an item is, and what of it can be named.
fn kind_and_members(item: &Item) -> (&'static str, Vec<String>) {
    match item {
        Item::Const(_) => ("const", vec![]),
        Item::Fn(_) => ("fn", vec![]),
        Item::Static(_) => ("static", vec![]),
        Item::Type(_) => ("type", vec![]),
        Item::Struct(item) => {
            let fields = item.fields.iter().enumerate();
            let public = fields.filter(|(_, field)| matches!(field.vis, Visibility::Public(_)));
            ("struct", public.filter_map(field).collect())
        }
        Item::Enum(item) => {
            let variants = item
                .variants
                .iter()
                .filter(|item| !is_left_out(&item.attrs));
            ("enum", variants.flat_map(variant).collect())
        }
        Item::Trait(item) => (
            "trait",
            item.items.iter().filter_map(trait_member).collect(),
        ),
        _ => panic!("an item of this kind has no line in the list"),
    }
}

fn variant(variant: &syn::Variant) -> Vec<String> {
    let name = &variant.ident;
    let named = variant.fields.iter().filter(|field| field.ident.is_some());
    let fields = named.enumerate().filter_map(field);
    let mut lines: Vec<String> = fields.map(|field| format!("{name}::{field}")).collect();
    lines.push(format!("{name} (variant)"));
    lines
}

fn field((index, field): (usize, &Field)) -> Option<String> {
    let name = field
        .ident
        .as_ref()
        .map_or(index.to_string(), ToString::to_string);
    (!is_left_out(&field.attrs)).then(|| format!("{name} (field)"))
}

fn trait_member(item: &TraitItem) -> Option<String> {
    let (attributes, line) = match item {
        TraitItem::Fn(item) => (&item.attrs, format!("{} (fn)", item.sig.ident)),
        TraitItem::Const(item) => (&item.attrs, format!("{} (const)", item.ident)),
        TraitItem::Type(item) => (&item.attrs, format!("{} (type)", item.ident)),
        _ => return None,
    };
    (!is_left_out(attributes)).then_some(line)
}

fn method(item: &ImplItem) -> Option<String> {
    let (attributes, visibility, line) = match item {
        ImplItem::Fn(item) => (&item.attrs, &item.vis, format!("{} (fn)", item.sig.ident)),
        ImplItem::Const(item) => (&item.attrs, &item.vis, format!("{} (const)", item.ident)),
        _ => return None,
    };
    let is_listed = matches!(visibility, Visibility::Public(_)) && !is_left_out(attributes);
    is_listed.then_some(line)
}

/// The path of the type that an `impl` block of its own is for.
fn inherent_type(block: &ItemImpl) -> Option<Vec<String>> {
    let Type::Path(path) = &*block.self_ty else {
        return None;
    };
    let names = path
        .path
        .segments
        .iter()
        .map(|segment| segment.ident.to_string());
    block.trait_.is_none().then(|| names.collect())
}

/// Whether users never see it.
fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let is_hidden = match &attribute.meta {
            Meta::List(list) => list.path.is_ident("doc") && list.tokens.to_string() == "hidden",
            Meta::Path(_) | Meta::NameValue(_) => false,
        };
        is_hidden || is_cfg(attribute, "testing")
    })
}

fn is_public(item: &Item) -> bool {
    let visibility = match item {
        Item::Const(item) => &item.vis,
        Item::Enum(item) => &item.vis,
        Item::Fn(item) => &item.vis,
        Item::Mod(item) => &item.vis,
        Item::Static(item) => &item.vis,
        Item::Struct(item) => &item.vis,
        Item::Trait(item) => &item.vis,
        Item::Type(item) => &item.vis,
        Item::Use(item) => &item.vis,
        _ => return false,
    };
    matches!(visibility, Visibility::Public(_))
}
