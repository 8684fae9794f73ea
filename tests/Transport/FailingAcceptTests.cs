using System.Diagnostics.Metrics;
using System.Net;
using System.Net.Sockets;
using Dmb.Telemetry;
using Dmb.Transport;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace Dmb.Tests.Transport;

/// <summary>What an accepted connection leaves behind when it fails before the server has it.</summary>
public sealed class FailingAcceptTests
{
    [Fact]
    public async Task A_connection_that_fails_while_it_is_accepted_is_closed_and_gives_its_permit_back()
    {
        await using var services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var options = new TransportOptions { MaxConnectionsPerAddress = 1 };
        var telemetry = new BrokerTelemetry(services.GetRequiredService<IMeterFactory>(), TimeProvider.System);
        using var gate = new ConnectionGate(
            options,
            telemetry,
            TimeProvider.System,
            NullLogger<ConnectionGate>.Instance
        );
        var factory = new SocketListenerFactory(gate, options, new FailsOnce(), NullLogger<SocketListener>.Instance);
        await using var listener = await factory.BindAsync(new IPEndPoint(IPAddress.Loopback, 0));
        var accepted = listener.AcceptAsync();

        using var first = new TcpClient(AddressFamily.InterNetwork);
        await first.ConnectAsync((IPEndPoint)listener.EndPoint);
        using var patience = new CancellationTokenSource(Node.Patience);
        Assert.Equal(0, await first.GetStream().ReadAsync(new byte[1], patience.Token));

        using var second = new TcpClient(AddressFamily.InterNetwork);
        await second.ConnectAsync((IPEndPoint)listener.EndPoint);
        await using var connection = await accepted.AsTask().WaitAsync(Node.Patience);
        Assert.Equal(second.Client.LocalEndPoint, connection?.RemoteEndPoint);
    }

    /// <summary>The first connection fails as one whose client has gone.</summary>
    private sealed class FailsOnce : TimeProvider
    {
        private int _calls;

        public override long GetTimestamp() =>
            Interlocked.Increment(ref _calls) == 1
                ? throw new SocketException((int)SocketError.NotConnected)
                : base.GetTimestamp();
    }
}
