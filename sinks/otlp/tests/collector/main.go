// Command collector is the OTLP receiver of the OpenTelemetry Collector with nothing behind it but standard output:
// one line of OTLP JSON for each export that it took. Exports that hold "refuse-this-event" are refused as bad data,
// and those of some services (see printer) as if something were wrong behind the collector.
//
// Usage: collector GRPC_ADDRESS HTTP_ADDRESS [CERT KEY]; it says "ready" and ends with its standard input.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx := context.Background()
	factory := otlpreceiver.NewFactory()
	config, err := configuration(factory.CreateDefaultConfig(), os.Args[1:])
	if err != nil {
		return err
	}
	sink, err := consumer.NewLogs(printer())
	if err != nil {
		return err
	}
	receiver, err := factory.CreateLogs(ctx, receivertest.NewNopSettings(factory.Type()), config, sink)
	if err != nil {
		return err
	}
	if err := receiver.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return receiver.Shutdown(ctx)
}

func configuration(config component.Config, args []string) (component.Config, error) {
	if len(args) < 2 {
		return nil, errors.New("usage: collector GRPC_ADDRESS HTTP_ADDRESS [CERT KEY]")
	}
	settings := func(address string) map[string]any {
		settings := map[string]any{"endpoint": address}
		if len(args) == 4 {
			settings["tls"] = map[string]any{"cert_file": args[2], "key_file": args[3]}
		}
		return settings
	}
	protocols := map[string]any{"grpc": settings(args[0]), "http": settings(args[1])}
	return config, confmap.NewFromStringMap(map[string]any{"protocols": protocols}).Unmarshal(config)
}

func printer() consumer.ConsumeLogsFunc {
	var mutex sync.Mutex
	return func(_ context.Context, logs plog.Logs) error {
		line, err := (&plog.JSONMarshaler{}).MarshalLogs(logs)
		if err != nil {
			return err
		}
		bad := strings.Contains(string(line), "refuse-this-event")
		switch service(logs) {
		case "invalid":
			return status.Error(codes.InvalidArgument, "refused, as everything")
		case "permanent":
			return consumererror.NewPermanent(errors.New("nothing behind it takes anything"))
		case "breaks":
			if bad {
				return consumererror.NewPermanent(errors.New("broke down, as ordered"))
			}
		}
		if bad {
			return status.Error(codes.InvalidArgument, "refused, as ordered")
		}
		mutex.Lock()
		defer mutex.Unlock()
		_, err = fmt.Printf("%s\n", line)
		return err
	}
}

// The service that the records are of, by which one collector is several.
func service(logs plog.Logs) string {
	if logs.ResourceLogs().Len() == 0 {
		return ""
	}
	name, _ := logs.ResourceLogs().At(0).Resource().Attributes().Get("service.name")
	return name.AsString()
}
