// Package storetest has the tests that every kind of store passes.
package storetest
