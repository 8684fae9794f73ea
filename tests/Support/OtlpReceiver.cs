using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Dmb.Tests.Support;

/// <summary>A span as it came. Kinds as in OTLP: 2 server, 4 producer, 5 consumer.</summary>
public sealed record OtlpSpan(
    string Service,
    string Trace,
    string Id,
    string Parent,
    string Name,
    int Kind,
    ulong Start,
    ulong End,
    IReadOnlyDictionary<string, string> Attributes,
    IReadOnlyList<(string Trace, string Id)> Links,
    int Status
);

/// <summary>A log record as it came.</summary>
public sealed record OtlpLog(string Service, string Text, string Trace, string Span);

/// <summary>
/// A collector on loopback: takes OTLP as http/protobuf and as grpc, and reads of it what is asked for here.
/// </summary>
public sealed class OtlpReceiver : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentQueue<OtlpSpan> _spans = new();
    private readonly ConcurrentQueue<OtlpLog> _logs = new();
    private readonly ConcurrentDictionary<string, bool> _metrics = new();
    private volatile TaskCompletionSource _came = NewSignal();

    private OtlpReceiver(WebApplication app) => _app = app;

    public Uri Http { get; private set; } = null!;

    public Uri Grpc { get; private set; } = null!;

    /// <summary>Everything that came, as text, to look for what must not be there.</summary>
    public ConcurrentQueue<string> Bodies { get; } = new();

    public OtlpSpan[] Spans => [.. _spans];

    public static async Task<OtlpReceiver> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http1);
            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
        });
        var app = builder.Build();
        var receiver = new OtlpReceiver(app);
        app.Run(receiver.TakeAsync);
        await app.StartAsync();
        (receiver.Http, receiver.Grpc) = (new Uri(app.Urls.First()), new Uri(app.Urls.Last()));
        return receiver;
    }

    /// <summary>What a node is told so that it sends here, soon.</summary>
    public (string Name, string Value)[] Settings(string service, string protocol = "http/protobuf") =>
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", (protocol == "grpc" ? Grpc : Http).ToString()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_SERVICE_NAME", service),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "100"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
        ];

    /// <summary>So many spans of a trace, and all that came of it by then.</summary>
    public async Task<OtlpSpan[]> TraceAsync(string trace, int spans)
    {
        await UntilAsync(
            () => _spans.Count(span => span.Trace == trace) >= spans,
            () => string.Join('\n', _spans.Where(span => span.Trace == trace))
        );
        return [.. _spans.Where(span => span.Trace == trace)];
    }

    /// <summary>The first span of that name.</summary>
    public async Task<OtlpSpan> SpanAsync(string name)
    {
        await UntilAsync(() => _spans.Any(span => span.Name == name), () => string.Join('\n', _spans));
        return _spans.First(span => span.Name == name);
    }

    /// <summary>The first log record with this in its text, of one service or of any.</summary>
    public async Task<OtlpLog> LogAsync(string part, string? service = null)
    {
        bool IsMeant(OtlpLog log) =>
            log.Text.Contains(part, StringComparison.Ordinal) && (service ?? log.Service) == log.Service;

        await UntilAsync(() => _logs.Any(IsMeant), () => string.Join('\n', _logs));
        return _logs.First(IsMeant);
    }

    /// <summary>Completes when a metric of that name came.</summary>
    public Task MetricAsync(string name) =>
        UntilAsync(() => _metrics.ContainsKey(name), () => string.Join('\n', _metrics.Keys));

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
    }

    private async Task UntilAsync(Func<bool> isThere, Func<string> what)
    {
        try
        {
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
            while (true)
            {
                var came = _came.Task;
                if (isThere())
                {
                    return;
                }

                await came.WaitAsync(patience.Token);
            }
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException("Did not come; came:\n" + what());
        }
    }

    private async Task TakeAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        await context.Request.Body.CopyToAsync(body);
        var isGrpc = context.Request.ContentType?.StartsWith("application/grpc", StringComparison.Ordinal) == true;

        // Of grpc one message a request, behind its five bytes.
        var message = body.ToArray().AsMemory(isGrpc ? 5 : 0);
        var path = context.Request.Path.Value!;
        Bodies.Enqueue(Encoding.UTF8.GetString(message.Span));
        foreach (var resource in new Fields(message).Messages(1))
        {
            var service = Attributes(resource.Messages(1).Single().Messages(1)).GetValueOrDefault("service.name", "");
            foreach (var item in resource.Messages(2).SelectMany(scope => scope.Messages(2)))
            {
                Take(path, service, item);
            }
        }

        if (isGrpc)
        {
            context.Response.ContentType = "application/grpc";
            await context.Response.Body.WriteAsync(new byte[5]);
            context.Response.AppendTrailer("grpc-status", "0");
        }
        else
        {
            context.Response.ContentType = "application/x-protobuf";
        }

        Interlocked.Exchange(ref _came, NewSignal()).TrySetResult();
    }

    private void Take(string path, string service, Fields item)
    {
        if (path.Contains("trace", StringComparison.OrdinalIgnoreCase))
        {
            _spans.Enqueue(
                new OtlpSpan(
                    service,
                    item.Hex(1),
                    item.Hex(2),
                    item.Hex(4),
                    item.Text(5),
                    (int)item.Number(6),
                    item.Number(7),
                    item.Number(8),
                    Attributes(item.Messages(9)),
                    [.. item.Messages(13).Select(link => (link.Hex(1), link.Hex(2)))],
                    (int)item.Messages(15).Select(status => status.Number(3)).FirstOrDefault()
                )
            );
        }
        else if (path.Contains("log", StringComparison.OrdinalIgnoreCase))
        {
            // The body is the template; what stands in it are attributes.
            var values = string.Join(' ', Attributes(item.Messages(6)).Select(pair => $"{pair.Key}={pair.Value}"));
            _logs.Enqueue(
                new OtlpLog(service, item.Messages(5).Single().Text(1) + " " + values, item.Hex(9), item.Hex(10))
            );
        }
        else
        {
            _metrics.TryAdd(item.Text(1), true);
        }
    }

    private static Dictionary<string, string> Attributes(IEnumerable<Fields> pairs) =>
        pairs.ToDictionary(pair => pair.Text(1), pair => pair.Messages(2).Select(Value).FirstOrDefault(""));

    private static string Value(Fields value) =>
        value.Has(3) ? $"{value.Number(3)}"
        : value.Has(2) ? $"{value.Number(2) == 1}"
        : value.Has(5) ? string.Join(',', value.Messages(5).Single().Messages(1).Select(Value))
        : value.Text(1);

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The fields of a protobuf message, read as far as their wire types tell.</summary>
    private sealed class Fields
    {
        private readonly List<(int Number, ulong Value, ReadOnlyMemory<byte> Bytes)> _all = [];

        public Fields(ReadOnlyMemory<byte> message)
        {
            while (message.Length > 0)
            {
                var tag = Varint(ref message);
                var (value, bytes) = (0ul, default(ReadOnlyMemory<byte>));
                switch (tag & 7)
                {
                    case 0:
                        value = Varint(ref message);
                        break;
                    case 1:
                        value = BinaryPrimitives.ReadUInt64LittleEndian(message.Span);
                        message = message[8..];
                        break;
                    case 2:
                        var length = (int)Varint(ref message);
                        bytes = message[..length];
                        message = message[length..];
                        break;
                    case 5:
                        value = BinaryPrimitives.ReadUInt32LittleEndian(message.Span);
                        message = message[4..];
                        break;
                    default:
                        throw new InvalidDataException($"Wire type {tag & 7}.");
                }

                _all.Add(((int)(tag >> 3), value, bytes));
            }
        }

        public bool Has(int number) => _all.Exists(field => field.Number == number);

        public ulong Number(int number) => _all.Find(field => field.Number == number).Value;

        public string Text(int number) =>
            Encoding.UTF8.GetString(_all.Find(field => field.Number == number).Bytes.Span);

        public string Hex(int number) =>
            Convert.ToHexStringLower(_all.Find(field => field.Number == number).Bytes.Span);

        public IEnumerable<Fields> Messages(int number) =>
            _all.Where(field => field.Number == number).Select(field => new Fields(field.Bytes));

        private static ulong Varint(ref ReadOnlyMemory<byte> message)
        {
            var value = 0ul;
            for (var shift = 0; ; shift += 7)
            {
                var next = message.Span[0];
                message = message[1..];
                value |= (ulong)(next & 127) << shift;
                if (next < 128)
                {
                    return value;
                }
            }
        }
    }
}
