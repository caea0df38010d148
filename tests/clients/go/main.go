// The program that a Go application of etcd could be: every part of etcd's client/v3, one printed
// line a step. tests/clients runs it against etcd and against Tianlu and compares the lines.
//
// Usage: PROGRAM SUITE ENDPOINT TLS_ENDPOINT CERTIFICATES
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// patience bounds every step; none needs more than a few seconds.
const patience = 30 * time.Second

// A program is one run: where the servers are, and the client that most steps use.
type program struct {
	endpoint, tlsEndpoint, certificates string
	answers                             *bufio.Scanner
	client                              *clientv3.Client
	ctx                                 context.Context
}

var suites = map[string][]func(*program){
	"client": {
		keys, transactions, watches, leases, mutexes, elections, softwareTransactions,
		wrappers, limits, reconnection, authentication, tlsConnections,
	},
	"kubernetes": {objects, lists, informers, compactor, events},
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 8*patience)
	defer cancel()
	p := &program{
		endpoint: os.Args[2], tlsEndpoint: os.Args[3], certificates: os.Args[4],
		answers: bufio.NewScanner(os.Stdin), ctx: ctx,
	}
	p.client = p.connect(clientv3.Config{})
	defer p.client.Close()
	for _, part := range suites[os.Args[1]] {
		part(p)
	}
	fmt.Println("end")
}

// connect returns a client of the plaintext endpoint, or of those that the configuration names.
func (p *program) connect(config clientv3.Config) *clientv3.Client {
	if config.Endpoints == nil {
		config.Endpoints = []string{p.endpoint}
	}
	config.DialTimeout = 10 * time.Second
	config.Logger = zap.NewNop()
	client, err := clientv3.New(config)
	must(err)
	return client
}

// say prints one step's outcome.
func (p *program) say(step string, outcome ...any) {
	words := make([]string, len(outcome))
	for i, each := range outcome {
		words[i] = text(each)
	}
	fmt.Printf("%s: %s\n", step, strings.Join(words, " "))
}

// ask has the test do something to the server: `restart`, or `etcdctl ARGUMENTS`.
func (p *program) ask(request ...string) {
	fmt.Println("?" + strings.Join(request, " "))
	if !p.answers.Scan() {
		panic("the test is gone")
	}
}

func text(value any) string {
	if err, is := value.(error); is {
		return fmt.Sprintf("error<%v>", err)
	}
	return fmt.Sprint(value)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// failure returns what a step that has to fail said.
func failure[T any](_ T, err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

// result returns the value of a step that has to succeed.
func result[T any](value T, err error) T {
	must(err)
	return value
}

// next returns what comes on a channel, in time.
func next[T any](channel <-chan T, what string) T {
	select {
	case value := <-channel:
		return value
	case <-time.After(patience):
		panic("nothing came in time: " + what)
	}
}
