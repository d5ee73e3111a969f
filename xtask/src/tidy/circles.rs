//! Circles of files: files of one crate that import each other, directly or through others.
//!
//! A path counts for the file that defines its item, also when another file re-exports it. Tests do not count, and
//! neither do paths from a module to the modules inside it: a folder and its `mod.rs` belong together.

use super::Source;
use crate::shell::Result;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// A path of modules below the root of a crate; the root's is empty.
type Module = Vec<String>;
type Graph = BTreeMap<Module, BTreeSet<Module>>;

/// Longest chain of re-exports that is followed.
const MAX_REEXPORTS: usize = 5;

pub(super) fn check(sources: &[Source]) -> Result<Vec<String>> {
    let mut crates: BTreeMap<String, BTreeMap<Module, Imports>> = BTreeMap::new();
    for source in sources {
        if let Some((name, module)) = module_of(&source.path) {
            let tokens = source.text.parse().map_err(|error| format!("{}: {error}", source.path.display()))?;
            let mut words = Vec::new();
            flatten(tokens, &mut words);
            let mut imports = Imports::default();
            imports.scan(&words.iter().map(String::as_str).collect::<Vec<_>>(), &module);
            crates.entry(name).or_default().insert(module, imports);
        }
    }
    let mut breaches = Vec::new();
    for (name, files) in &crates {
        for circle in circles(&graph(files)) {
            let files: Vec<_> = circle.iter().map(|module| module.join("/")).collect();
            breaches.push(format!("{name}: files import each other in a circle: {}", files.join(", ")));
        }
    }
    Ok(breaches)
}

/// The crate and the module of a file below its `src`; roots of binaries and tests have none.
fn module_of(path: &Path) -> Option<(String, Module)> {
    let mut parts: Module = path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let src = parts.iter().position(|part| part == "src")?;
    let name = parts.get(src.checked_sub(1)?)?.clone();
    let mut module = parts.split_off(src + 1);
    match module.last()?.as_str() {
        "main" | "tests" => return None,
        "lib" | "mod" => drop(module.pop()),
        _ => {}
    }
    Some((name, module))
}

/// The tokens of a file in their order, delimiters included.
fn flatten(tokens: TokenStream, words: &mut Vec<String>) {
    for token in tokens {
        let TokenTree::Group(group) = token else {
            words.push(token.to_string());
            continue;
        };
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket | Delimiter::None => ("[", "]"),
        };
        words.push(open.to_owned());
        flatten(group.stream(), words);
        words.push(close.to_owned());
    }
}

/// The imports of a file.
#[derive(Default)]
struct Imports {
    /// Absolute paths that the file uses.
    uses: Vec<Module>,
    /// Absolute paths that the file re-exports, by the absolute path of the new name.
    exports: BTreeMap<Module, Module>,
}

impl Imports {
    /// Adds the imports in the words of `module`.
    fn scan<'a>(&mut self, mut words: &'a [&'a str], module: &[String]) {
        while let [_, rest @ ..] = words {
            words = match words {
                ["#", "[", "cfg", "(", "test", ")", "]", item @ ..] => &item[item_length(item)..],
                ["use", "<", rest @ ..] => rest,
                ["pub", "use", tree @ ..] | ["pub", "(", _, ")", "use", tree @ ..] => self.add_use(tree, true, module),
                ["use", tree @ ..] => self.add_use(tree, false, module),
                // The body of an inline module; other modules are other files.
                ["mod", name, "{", ..] => {
                    let (item, rest) = words.split_at(item_length(words));
                    self.scan(&item[3..], &[module, &[(*name).to_owned()]].concat());
                    rest
                }
                ["crate" | "super", ":", ":", ..] => {
                    let path = path(words);
                    self.uses.extend(absolute(module, &path));
                    &words[3 * path.len() - 2..]
                }
                _ => rest,
            };
        }
    }

    /// Adds the paths of a use tree, such as `a::b` and `a::c` of `a::{b, c as d};`; returns what follows it.
    fn add_use<'a>(&mut self, tree: &'a [&str], is_public: bool, module: &[String]) -> &'a [&'a str] {
        let (mut path, mut prefixes) = (Module::new(), vec![Module::new()]);
        for (at, word) in tree.iter().enumerate() {
            match *word {
                ":" => {}
                "{" => prefixes.push(path.clone()),
                "," | "}" | ";" => {
                    if prefixes.last().is_some_and(|prefix| path.len() > prefix.len()) {
                        self.add_path(&path, is_public, module);
                    }
                    match *word {
                        ";" => return &tree[at..],
                        "}" => drop(prefixes.pop()),
                        _ => {}
                    }
                    path = prefixes.last().cloned().unwrap_or_default();
                }
                word => path.push(word.to_owned()),
            }
        }
        &[]
    }

    fn add_path(&mut self, path: &[String], is_public: bool, module: &[String]) {
        let (path, name) = match path {
            [path @ .., renamed, name] if renamed == "as" => (path, name),
            [.., name] => (path, name),
            [] => return,
        };
        let absolute = absolute(module, path);
        self.uses.extend(absolute.clone());
        if is_public {
            // Without a keyword, the path begins at a module inside this one.
            let target = absolute.unwrap_or_else(|| [module, path].concat());
            self.exports.insert([module, std::slice::from_ref(name)].concat(), target);
        }
    }
}

/// The length of an item: it ends with a semicolon or with braces.
fn item_length(words: &[&str]) -> usize {
    let mut depth = 0;
    let is_end = |word: &&str| {
        match *word {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        depth == 0 && matches!(*word, ";" | "}")
    };
    words.iter().position(is_end).map_or(words.len(), |end| end + 1)
}

/// The path of identifiers at the beginning of `words`.
fn path(words: &[&str]) -> Module {
    let is_name = |word: &str| word.starts_with(|first: char| first.is_alphabetic() || first == '_');
    let segments = words.chunks(3).scan(true, |continues, segment| {
        let is_segment = *continues && is_name(segment[0]);
        *continues = segment[1..] == [":", ":"];
        is_segment.then(|| segment[0].to_owned())
    });
    segments.collect()
}

/// The absolute form of a path that begins with `crate`, `self` or `super`.
fn absolute(module: &[String], path: &[String]) -> Option<Module> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let above = path.iter().take_while(|part| *part == "super").count();
            let base = module.get(..module.len().checked_sub(above)?)?;
            Some([base, &path[above..]].concat())
        }
        _ => None,
    }
}

/// Which file imports which.
fn graph(files: &BTreeMap<Module, Imports>) -> Graph {
    let exports: BTreeMap<&Module, &Module> = files.values().flat_map(|imports| &imports.exports).collect();
    let mut graph = Graph::new();
    for (module, imports) in files {
        let targets = imports.uses.iter().filter_map(|path| defining_file(path, files, &exports));
        let targets = targets.filter(|target| !target.starts_with(module));
        graph.insert(module.clone(), targets.collect());
    }
    graph
}

/// The file that defines an item.
fn defining_file(
    path: &[String],
    files: &BTreeMap<Module, Imports>,
    exports: &BTreeMap<&Module, &Module>,
) -> Option<Module> {
    let mut path = path.to_vec();
    for _ in 0..MAX_REEXPORTS {
        let exported = (0..=path.len()).rev().find_map(|end| {
            let prefix = path[..end].to_vec();
            let target = exports.get(&prefix).filter(|target| ***target != prefix)?;
            Some([target, &path[end..]].concat())
        });
        let Some(target) = exported else { break };
        path = target;
    }
    (0..=path.len()).rev().map(|end| path[..end].to_vec()).find(|module| files.contains_key(module))
}

/// The sets of files that import each other.
fn circles(graph: &Graph) -> BTreeSet<BTreeSet<&Module>> {
    let reachable: BTreeMap<&Module, BTreeSet<&Module>> =
        graph.keys().map(|module| (module, reachable_from(graph, module))).collect();
    let circle_of = |module: &Module| -> BTreeSet<&Module> {
        reachable[module].iter().copied().filter(|other| reachable[other].contains(module)).collect()
    };
    graph.keys().map(circle_of).filter(|circle| !circle.is_empty()).collect()
}

fn reachable_from<'a>(graph: &'a Graph, from: &[String]) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&Module> = graph.get(from).into_iter().flatten().collect();
    while let Some(module) = waiting.pop() {
        if found.insert(module) {
            waiting.extend(graph.get(module).into_iter().flatten());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(files: &[(&str, &str)]) -> Vec<String> {
        let sources = files.iter().map(|(name, text)| Source::new(&format!("crates/x/src/{name}.rs"), text));
        check(&sources.collect::<Vec<_>>()).expect("valid tokens")
    }

    #[test]
    fn files_that_import_each_other_are_a_circle() {
        let both = [("a", "use crate::b::B;"), ("b", "use super::a::{A, other};")];
        assert_eq!(breaches(&both), ["x: files import each other in a circle: a, b"]);
        assert_eq!(breaches(&[both[0], ("b", "pub struct B;")]), [""; 0]);
        let through = [("a", "use crate::b::B;"), ("b", "use crate::c::d::D;"), ("c/d", "use crate::a::A;")];
        assert_eq!(breaches(&through), ["x: files import each other in a circle: a, b, c/d"]);
    }

    #[test]
    fn paths_in_code_count_like_imports() {
        for text in ["fn f() { crate::a::f() }", "fn f() { log!(\"{}\", super::a::NAME) }", "impl T for crate::a::A {}"]
        {
            assert_eq!(breaches(&[("a", "use crate::b;"), ("b", text)]).len(), 1, "{text}");
        }
        for text in ["// crate::a::A", "const TEXT: &str = \"crate::a::A\";", "pub(crate) fn f() -> impl T + use<> {}"]
        {
            assert_eq!(breaches(&[("a", "use crate::b;"), ("b", text)]), [""; 0], "{text}");
        }
    }

    #[test]
    fn reexports_lead_to_the_file_that_defines_an_item() {
        let lib = ("lib", "mod a; mod b; mod c; pub use a::A; pub(crate) use c::{self as other, C};");
        assert_eq!(breaches(&[lib, ("a", "use crate::b::B;"), ("b", "use crate::A;")]).len(), 1);
        assert_eq!(
            breaches(&[
                lib,
                ("c/mod", "mod d; pub(crate) use d::C;"),
                ("c/d", "use crate::b::B;"),
                ("b", "use crate::C;")
            ])
            .len(),
            1
        );
        assert_eq!(breaches(&[lib, ("a", "use crate::b::B;"), ("b", "use crate::C;"), ("c", "")]), [""; 0]);
    }

    #[test]
    fn tests_and_modules_inside_a_module_do_not_count() {
        let tests = "#[cfg(test)] mod tests { use crate::a::A; } #[cfg(test)] use crate::a::B;";
        assert_eq!(breaches(&[("a", "use crate::b::B;"), ("b", tests)]), [""; 0]);
        assert_eq!(breaches(&[("a", "use crate::b::B;"), ("b/tests", "use crate::a::A;"), ("b/mod", "")]), [""; 0]);
        assert_eq!(breaches(&[("a/mod", "use self::b::B;"), ("a/b", "use super::A;")]), [""; 0]);
        let through = [("a/mod", "use crate::x::X;"), ("x", "use crate::a::b::B;"), ("a/b", "use super::A;")];
        assert_eq!(breaches(&through), ["x: files import each other in a circle: a, a/b, x"]);
    }
}
