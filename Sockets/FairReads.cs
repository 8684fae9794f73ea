using System.IO.Pipelines;
using Microsoft.AspNetCore.Connections;

namespace Dmb.Sockets;

/// <summary>
/// A connection's reads, with a pause for others. What comes is handled on the thread that saw it come, and that thread serves many
/// connections: one that always has more to be read would have it for itself. So now and then what follows is left to the pool.
/// </summary>
internal sealed class FairReads(PipeReader input) : PipeReader
{
    /// <summary>Reads in a row without a pause: some tens of microseconds each at most.</summary>
    private const int InARowMax = 32;

    private int _inARow;

    /// <summary>Makes all connections read so.</summary>
    public static void Use(IConnectionBuilder connections) => connections.Use(next => connection =>
    {
        connection.Transport = new Duplex(new FairReads(connection.Transport.Input), connection.Transport.Output);
        return next(connection);
    });

    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (++_inARow < InARowMax)
        {
            return input.ReadAsync(cancellationToken);
        }

        _inARow = 0;
        return PauseAsync(cancellationToken);
    }

    public override bool TryRead(out ReadResult result) => input.TryRead(out result);

    public override void AdvanceTo(SequencePosition consumed) => input.AdvanceTo(consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined) => input.AdvanceTo(consumed, examined);

    public override void CancelPendingRead() => input.CancelPendingRead();

    public override void Complete(Exception? exception = null) => input.Complete(exception);

    public override ValueTask CompleteAsync(Exception? exception = null) => input.CompleteAsync(exception);

    private async ValueTask<ReadResult> PauseAsync(CancellationToken cancellationToken)
    {
        await Task.Yield();
        return await input.ReadAsync(cancellationToken);
    }

    private sealed class Duplex(PipeReader input, PipeWriter output) : IDuplexPipe
    {
        public PipeReader Input => input;

        public PipeWriter Output => output;
    }
}
