// Package schema holds the law of the facts: how they are named, what their
// files must say, which changes are compatible, and how they reach the registry.
//
// # Names
//
// A fact is noun.past-participle.vN: what it happened to, what happened, and the
// major version of its contract ("order.placed.v2", "stock.reservation-released.v1").
// An event is something that happened and can only be refused by not believing
// it; so the verb stands in the past tense, and "order.place" is a command. The
// last word of the verb ends in "ed" or is one of the irregular participles
// (paid, sent, won, lost, held, run, sold, …).
//
//	file       schemas/<noun>/<verb>.v<N>.avsc     schemas/credit-note/issued.v1.avsc
//	full name  spine.<noun>.<Noun><Verb>V<N>       spine.creditnote.CreditNoteIssuedV1
//	subject    the full name
//
// The major is in the unqualified name because Avro resolution ignores
// namespaces. Hyphens drop out of the namespace. Records inside a fact live in a
// namespace of their own, spine.<noun>.<verb>v<N>, so that no two facts declare
// one name; records that two facts use live in schemas/common (spine.common) and
// are inlined, so that every registered schema stands alone.
//
// # Properties of a fact file
//
//	owner              team that answers for the fact
//	system_of_record   who is right when sources differ
//	identity           payload fields that make two reports the same fact
//	key                record key: "{order_ref}" (a Ref reads <system>/<instance>:<id>),
//	                   "{sku}@{warehouse.id}"; " | " separates alternatives
//	retention          how long personal data may stay in the topic, in days: "28d"
//	producers          who emits it: systems, or spine/<group>
//	deprecated         what replaces the fact; nobody emits it any more
//	upcast, downcast   Go functions beside the generated types that convert from
//	                   and to the previous major, or "none: <reason>"
//	lint_ignore        {"L11": "reason"}: rules that do not hold here, and why
//
// These stay in the file; the registered text has the others only.
//
// # Properties of a field
//
//	doc       what it means, at least 10 characters
//	pii       none, contact, identity, location, financial or credential
//	unit      what a decimal that is not money counts
//	currency  sibling field that holds the currency of this money, if not "currency"
//
// # Revisions
//
// The file is the current revision. Release freezes it as
// schemas/released/<noun>/<verb>.v<N>.r<M>.avsc; a frozen file never changes, and
// the current file is compatible with all frozen ones of its major, in both
// directions. Everything else is a new major.
package schema
