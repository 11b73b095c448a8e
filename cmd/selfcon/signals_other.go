//go:build !unix

package main

func stayAlive() {} // there are no such signals
