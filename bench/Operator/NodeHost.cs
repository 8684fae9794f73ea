using System.Diagnostics;
using Microsoft.Extensions.Hosting;

namespace Dmb.Bench.Operator;

/// <summary>A whole node in this process, on a port of its own. It ends with the process.</summary>
internal sealed class NodeHost
{
    private static readonly TimeSpan StartTimeMax = TimeSpan.FromSeconds(20);

    private NodeHost(IHost host, int port)
    {
        Services = host.Services;
        Port = port;
    }

    public IServiceProvider Services { get; }

    public int Port { get; }

    /// <summary>Starts a node over a Redis of this machine; returns when it serves.</summary>
    public static NodeHost Start(int port, int redisPort)
    {
        var built = new TaskCompletionSource<IHost>(TaskCreationOptions.RunContinuationsAsynchronously);
        var thread = new Thread(() =>
        {
            using var listening = DiagnosticListener.AllListeners.Subscribe(new Listeners(built));
            typeof(Routing.RoutingOptions).Assembly.EntryPoint!.Invoke(
                null,
                [new[] { $"--Dmb:Port={port}", "--Dmb:RedisHost=127.0.0.1", $"--Dmb:RedisPort={redisPort}" }]
            );
        })
        {
            IsBackground = true,
        };
        thread.Start();
        var host = built.Task.WaitAsync(StartTimeMax).GetAwaiter().GetResult();
        using var http = new HttpClient();
        for (var start = Stopwatch.GetTimestamp(); !IsReady(http, port); )
        {
            if (Stopwatch.GetElapsedTime(start) > StartTimeMax)
            {
                throw new TimeoutException("A node does not become ready.");
            }

            Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System).GetAwaiter().GetResult();
        }

        return new NodeHost(host, port);
    }

    private static bool IsReady(HttpClient http, int port)
    {
        try
        {
            using var answer = http.GetAsync(new Uri($"http://127.0.0.1:{port}/readyz")).GetAwaiter().GetResult();
            return answer.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    /// <summary>Takes the host of the entry point that runs on the same thread.</summary>
    private sealed class Listeners(TaskCompletionSource<IHost> built)
        : IObserver<DiagnosticListener>,
            IObserver<KeyValuePair<string, object?>>
    {
        public void OnNext(DiagnosticListener value)
        {
            if (value.Name == "Microsoft.Extensions.Hosting")
            {
                value.Subscribe(this);
            }
        }

        public void OnNext(KeyValuePair<string, object?> value)
        {
            if (value.Key == "HostBuilt")
            {
                built.TrySetResult((IHost)value.Value!);
            }
        }

        public void OnCompleted() { }

        public void OnError(Exception error) { }
    }
}
