//! Calls.

use std::rc::Rc;
use std::sync::Arc;

use super::Interpreter;
use crate::text::jinja::calls::{Call, required};
use crate::text::jinja::syntax::{Arguments, Expression, ExpressionKind, Macro};
use crate::text::jinja::text::{Author, Text, TextBuilder};
use crate::text::jinja::value::{Dict, LoopValue, MacroValue, Result, Value, failure};
use crate::text::jinja::{globals, methods};

impl<'t> Interpreter<'t> {
    /// `callee(arguments)`, with a macro of that index as its `caller`.
    pub(super) fn call(
        &mut self,
        callee: &'t Expression,
        arguments: &'t Arguments,
        caller: Option<usize>,
    ) -> Result<Value> {
        let name = match &callee.kind {
            ExpressionKind::Name(name) | ExpressionKind::Attribute(_, name) => name,
            _ => "the value",
        };
        let callee = self.evaluate(callee)?;
        let mut call = self.arguments(name, arguments)?;
        if let Some(index) = caller {
            let frame = self.current;
            let caller = Value::Macro(Rc::new(MacroValue { index, frame }));
            call.named.push((Arc::from("caller"), caller));
        }
        self.deeper(|inner| inner.call_value(&callee, call))
    }

    pub(super) fn call_block(&mut self, caller: usize, call: &'t Expression) -> Result<Value> {
        match &call.kind {
            ExpressionKind::Call(callee, arguments) => self.call(callee, arguments, Some(caller)),
            _ => Err(failure("`call` needs a call")),
        }
    }

    fn call_value(&mut self, callee: &Value, call: Call<'_>) -> Result<Value> {
        callee.check_defined()?;
        match callee {
            Value::Function(name) => globals::call(self, name, call),
            Value::Method(method) => methods::call(&method.0, method.1, call),
            Value::Macro(found) => self.call_macro(found, call).map(Value::Str),
            Value::Loop(state) => self.call_loop(state, call).map(Value::Str),
            Value::Joiner(joiner) => {
                let [] = call.bind([])?;
                match joiner.1.replace(true) {
                    true => Ok(Value::Str(joiner.0.clone())),
                    false => Text::new("", Author::Template, self.meter).map(Value::Str),
                }
            }
            _ => Err(failure(format!(
                "`{}` cannot be called: it is a {}",
                call.name,
                callee.kind_name()
            ))),
        }
    }

    /// `loop(items)`: the recursive loop around, with other items.
    fn call_loop(&mut self, state: &LoopValue, call: Call<'_>) -> Result<Text> {
        let Some((index, frame)) = state.recursion else {
            return Err(failure("a loop that is not `recursive` cannot be called"));
        };
        let [items] = call.bind(["iterable"])?;
        let items = required(items, "iterable")?;
        let found = &self.template.recursive_loops[index];
        let mut out = TextBuilder::new(self.meter);
        let recursion = Some((index, frame));
        self.for_loop(found, recursion, state.depth + 1, &items, &mut out)?;
        Ok(out.finish())
    }

    fn call_macro(&mut self, found: &MacroValue, call: Call<'_>) -> Result<Text> {
        let definition = &self.template.macros[found.index];
        let mut out = TextBuilder::new(self.meter);
        self.in_frame(found.frame, |inner| {
            inner.bind(definition, call)?;
            inner.statements(&definition.body, &mut out)
        })?;
        Ok(out.finish())
    }

    /// Defines what a macro is called with.
    fn bind(&mut self, definition: &'t Macro, call: Call<'_>) -> Result<()> {
        let (name, mut named) = (call.name, call.named);
        let mut positional = call.positional.into_iter();
        let mut missing = Vec::new();
        for (parameter, default) in &definition.parameters {
            let value = positional.next().or_else(|| {
                let at = named.iter().position(|(name, _)| name == parameter)?;
                Some(named.remove(at).1)
            });
            match value {
                Some(value) => self.define(parameter, value)?,
                None => missing.push((parameter, default)),
            }
        }
        for (parameter, default) in missing {
            let value = match default {
                Some(default) => self.evaluate(default)?,
                None => Value::undefined(parameter),
            };
            self.define(parameter, value)?;
        }
        self.bind_rest(definition, name, positional.collect(), named)
    }

    /// Defines `caller`, `varargs` and `kwargs` where the macro mentions them.
    fn bind_rest(
        &mut self,
        definition: &Macro,
        name: &str,
        positional: Vec<Value>,
        mut named: Vec<(Arc<str>, Value)>,
    ) -> Result<()> {
        let mut parameters = definition.parameters.iter();
        let is_parameter = parameters.any(|(parameter, _)| &**parameter == "caller");
        if definition.uses.caller && !is_parameter {
            let at = named.iter().position(|(name, _)| &**name == "caller");
            let caller = at.map(|at| named.remove(at).1);
            let caller = caller.unwrap_or_else(|| Value::undefined("caller"));
            self.define(&Arc::from("caller"), caller)?;
        }
        if definition.uses.varargs {
            let value = Value::tuple(positional, self.meter)?;
            self.define(&Arc::from("varargs"), value)?;
        } else if !positional.is_empty() {
            return Err(failure(format!("`{name}` takes fewer arguments")));
        }
        if definition.uses.kwargs {
            let mut entries = Vec::new();
            for (name, value) in named {
                let key = Text::new(&name, Author::Computed, self.meter)?;
                entries.push((Value::Str(key), value));
            }
            let value = Value::Dict(Dict::new(entries, self.meter)?);
            self.define(&Arc::from("kwargs"), value)?;
        } else if let Some((argument, _)) = named.first() {
            return Err(failure(format!("`{name}` takes no argument `{argument}`")));
        }
        Ok(())
    }
}
