using Dmb.Routing;
using Dmb.Telemetry;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Tests.Support;

/// <summary>Routing alone: tables, publisher and fan-out, as the app puts them together, without a server.</summary>
internal sealed class Broker : IAsyncDisposable
{
    private readonly ServiceProvider _metrics = new ServiceCollection()
        .AddMetrics()
        .AddSingleton(TimeProvider.System)
        .BuildServiceProvider();
    private readonly BrokerTelemetry _telemetry;

    public Broker()
    {
        var (options, history) = (new RoutingOptions(), new HistoryOptions { HistorySize = 0 });
        _telemetry = ActivatorUtilities.CreateInstance<BrokerTelemetry>(_metrics);
        var tail = new Tail(Time);
        Events = new EventTable(options);
        Rooms = new RoomTable(_telemetry);
        FanOut = new FanOut(Rooms, options, tail, _telemetry);
        History = new LocalHistory(new HistoryPolicy(history), FanOut, Rooms, history, Time);
        Publisher = new Publisher(
            new LocalBackplane(History, Rooms),
            new IdempotencyTable(options, Time),
            options,
            Time,
            tail,
            _telemetry
        );
    }

    public ManualTime Time { get; } = new();

    public RoomTable Rooms { get; }

    public EventTable Events { get; }

    public FanOut FanOut { get; }

    public LocalHistory History { get; }

    public Publisher Publisher { get; }

    /// <summary>Publishes as POST /_notify/{event} does.</summary>
    public async Task<PublishResult> NotifyAsync(string @event, string json)
    {
        var data = System.Text.Encoding.UTF8.GetBytes(json);
        return await Publisher.PublishAsync(
            Events.Find(@event),
            data,
            Publisher.ReadAddress(data),
            key: null,
            id: null,
            new Origin(Origin.Http)
        );
    }

    /// <summary>Completes when all that was published to large rooms so far was delivered and flushed.</summary>
    public async Task DeliveredAsync()
    {
        // A message to another large room waits behind those before it.
        var signals = Enumerable.Range(0, FanOut.InlineMax + 1).Select(_ => new Signal()).ToArray();
        foreach (var signal in signals)
        {
            Rooms.Join(signal, "signals", out _);
        }

        await Publisher.PublishToAsync("signal", ["signals"], "null"u8.ToArray(), new Origin(Origin.Socket));
        foreach (var signal in signals)
        {
            await signal.Flushed.WaitAsync(Node.Patience);
            Rooms.LeaveAll(signal);
        }
    }

    public async ValueTask DisposeAsync()
    {
        FanOut.Dispose();
        _telemetry.Dispose();
        await _metrics.DisposeAsync();
    }

    private sealed class Signal : Subscriber
    {
        private readonly TaskCompletionSource _flushed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Flushed => _flushed.Task;

        public override bool Queue(Envelope envelope, int room) => true;

        public override bool Queue(string @event, ReadOnlySpan<byte> data) => false;

        public override void Flush() => _flushed.SetResult();
    }
}
