// SPDX-License-Identifier: Apache-2.0

// Herald-kube is the Kubernetes of Herald's lab in one binary: its first argument
// names the program to run, and the rest are that program's flags.
//
// Etcd and kube-apiserver are the real ones, with their own flags.
// Kube-controller-manager and kube-proxy are the real controllers and the real
// nftables backend, without those that the lab does not run: to compile them all
// takes minutes. For the same reason this module uses the versions of Herald's
// own, so that what both need is compiled once. It is a module of its own to keep
// the dependencies of Kubernetes out of Herald's.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// programs runs each program with its arguments, the first of which is its name,
// and returns its exit status.
var programs = map[string]func(args []string) int{
	"etcd":                    etcd,
	"kube-apiserver":          apiServer,
	"kube-controller-manager": client(&manager{}),
	"kube-proxy":              client(&proxy{}),
}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	if len(args) > 0 {
		if program, ok := programs[args[0]]; ok {
			return program(args)
		}
	}
	names := slices.Sorted(maps.Keys(programs))
	fmt.Fprintf(os.Stderr, "usage: herald-kube %s [flags]\n", strings.Join(names, "|"))
	return 2
}

// etcd exits by itself when it ends badly.
func etcd(args []string) int {
	etcdmain.Main(args)
	return 0
}

// apiServer constructs the command only when it is asked for, since that sets
// flags and feature gates of the whole process.
func apiServer(args []string) int {
	os.Args = args // which is what the command parses
	return cli.Run(apiserver.NewAPIServerCommand())
}

// A clientProgram is a client of the API server that runs until it is killed.
type clientProgram interface {
	flags(*flag.FlagSet)
	run(context.Context, *rest.Config) error
}

// client makes a program of what needs nothing but the API server. It runs to the
// end of the process.
func client(p clientProgram) func(args []string) int {
	return func(args []string) int {
		os.Args = args // the first is the user agent and the field manager
		flags := flag.NewFlagSet(args[0], flag.ExitOnError)
		kubeconfig := flags.String("kubeconfig", "", "path of the kubeconfig `file`")
		p.flags(flags)
		_ = flags.Parse(args[1:]) // it exits if it fails
		config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
		if err == nil {
			config.ContentType = "application/vnd.kubernetes.protobuf"
			config.AcceptContentTypes = config.ContentType + ",application/json"
			err = p.run(context.Background(), config)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", args[0], err)
			return 1
		}
		return 0
	}
}
