package avsc

import "strings"

// Primitive says whether a type name is one of Avro's primitive types.
func Primitive(name string) bool {
	switch name {
	case "null", "boolean", "int", "long", "float", "double", "bytes", "string":
		return true
	}
	return false
}

// Qualify is the full name of a name seen in a namespace.
func Qualify(namespace, name string) string {
	if namespace == "" || strings.Contains(name, ".") {
		return name
	}
	return namespace + "." + name
}

// Or is a unless it is empty, then b.
func Or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
