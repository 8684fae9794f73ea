using System.Diagnostics.Metrics;
using System.Text;
using Dmb.Routing;
using Dmb.Telemetry;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Bench.Micro;

/// <summary>The routing of a node without anything around it.</summary>
internal sealed class TestBroker : IDisposable
{
    private readonly ServiceProvider _services = new ServiceCollection().AddMetrics().BuildServiceProvider();
    private readonly BrokerTelemetry _telemetry;

    public TestBroker()
    {
        var (options, kept) = (new RoutingOptions { MaxEvents = 100_000 }, new HistoryOptions());
        _telemetry = new BrokerTelemetry(_services.GetRequiredService<IMeterFactory>(), TimeProvider.System);
        var tail = new Tail(TimeProvider.System);
        Events = new EventTable(options);
        Rooms = new RoomTable(_telemetry);
        FanOut = new FanOut(Rooms, options, tail, _telemetry);
        var idempotency = new IdempotencyTable(options, TimeProvider.System);
        var history = new LocalHistory(new HistoryPolicy(kept), FanOut, Rooms, kept, TimeProvider.System);
        Backplane = new LocalBackplane(history, Rooms);
        Publisher = new Publisher(Backplane, idempotency, options, TimeProvider.System, tail, _telemetry);
    }

    public EventTable Events { get; }
    public RoomTable Rooms { get; }
    public FanOut FanOut { get; }
    public IBackplane Backplane { get; }
    public Publisher Publisher { get; }

    /// <summary>Data of so many bytes: the given members, and one that fills it up.</summary>
    public static byte[] Data(int bytes, string members = "")
    {
        var start = $"{{{members}{(members.Length > 0 ? "," : "")}\"pad\":\"";
        return Encoding.UTF8.GetBytes(start + new string('x', Math.Max(0, bytes - start.Length - 2)) + "\"}");
    }

    public static Envelope Envelope(byte[] data, params string[] rooms) =>
        new Envelope("report_csr", "0199d0a0-0000-7000-8000-000000000000", rooms, data);

    public void Dispose()
    {
        FanOut.Dispose();
        _telemetry.Dispose();
        _services.Dispose();
    }
}
