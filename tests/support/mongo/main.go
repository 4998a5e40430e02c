// A MongoDB-compatible server for tests: FerretDB over SQLite, on a free port of the loopback
// interface. It prints its URL, and ends when its standard input does, so that neither it nor its
// files outlive the test that started it.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	// Not in memory: there, FerretDB has one connection, and an update waits for ever for the one that
	// it reads with.
	dir, err := os.MkdirTemp("", "updraft-ferretdb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Handler:  "sqlite",
		// Nothing has to survive a crash.
		SQLiteURL: "file:" + dir + "/?_pragma=synchronous(off)",
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	go func() {
		// Whether it ends or breaks, nobody is there any more.
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = os.RemoveAll(dir)
		os.Exit(0)
	}()
	go func() {
		// The address is known once the server runs.
		fmt.Println(server.MongoDBURI())
	}()
	return server.Run(context.Background())
}
