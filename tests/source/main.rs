//! Laws of the sources themselves: which module may use which, and what is public.

mod layers;
mod public_items;
mod register;
mod resolve;
mod tree;
