using System.Runtime.InteropServices;

namespace Dmb;

/// <summary>
/// The process's signals from its first line on. SIGTERM and SIGINT end the node whenever they come, while it starts
/// too; SIGHUP never does. What reads something again at SIGHUP registers for it beside this.
/// </summary>
internal sealed class Signals : IDisposable
{
    private readonly CancellationTokenSource _stopping = new();
    private readonly PosixSignalRegistration[] _registrations;

    public Signals()
    {
        _registrations =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop),
            PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop),
            PosixSignalRegistration.Create(PosixSignal.SIGHUP, static context => context.Cancel = true),
        ];
    }

    /// <summary>Canceled by the first signal that ends the node.</summary>
    public CancellationToken Stopping => _stopping.Token;

    public void Dispose()
    {
        foreach (var registration in _registrations)
        {
            registration.Dispose();
        }

        _stopping.Dispose();
    }

    private void Stop(PosixSignalContext context)
    {
        context.Cancel = true;
        _stopping.Cancel();
    }
}
