// Package producers is a bad example: a folder is missing from the list.
package producers
