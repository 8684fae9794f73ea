using Dmb.Routing;
using Dmb.Telemetry;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Tests.Routing;

/// <summary>What a failure that is no refusal leaves behind.</summary>
public sealed class FailingBackplaneTests
{
    [Fact]
    public async Task A_key_whose_push_failed_is_free_again()
    {
        var options = new RoutingOptions();
        await using var services = new ServiceCollection()
            .AddMetrics()
            .AddSingleton(TimeProvider.System)
            .AddSingleton<BrokerTelemetry>()
            .BuildServiceProvider();
        var backplane = new Failing { Error = new InvalidOperationException("A fault.") };
        var publisher = new Publisher(
            backplane,
            new IdempotencyTable(options, TimeProvider.System),
            options,
            TimeProvider.System,
            new Tail(TimeProvider.System),
            services.GetRequiredService<BrokerTelemetry>()
        );

        await Assert.ThrowsAsync<InvalidOperationException>(PublishAsync);
        backplane.Error = null;
        Assert.False((await PublishAsync()).Duplicate);
        Assert.True((await PublishAsync()).Duplicate);

        async Task<PublishResult> PublishAsync() =>
            await publisher
                .PublishAsync(
                    new EventTable(options).Find("call"),
                    "1"u8.ToArray(),
                    publisher.ReadAddress("1"u8),
                    "key",
                    id: null,
                    new Origin(Origin.Http)
                )
                .AsTask()
                .WaitAsync(Node.Patience);
    }

    private sealed class Failing : Away
    {
        public Exception? Error { get; set; }

        public override ValueTask<PublishOutcome> PublishAsync(Envelope envelope) =>
            Error is null ? new(PublishOutcome.Fully) : throw Error;

        public override ValueTask<string?> FirstIdAsync(string key, string id) => new((string?)null);
    }
}
