// Package shopify is not in the list.
package shopify
