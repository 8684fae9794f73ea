namespace Dmb.Sockets;

/// <summary>
/// Writes the frames of a session to a socket, a response stream, or the responses of a polling client. The session is
/// the only caller of <see cref="WriteAsync"/>, and has at most one write pending.
/// </summary>
/// <remarks>
/// A write may be partial. The rest is offered again when the write completes, together with what was queued meanwhile,
/// to the output that the session has then (<see cref="Session.SwapOutput"/>). A polling output completes its write
/// with 0 when the next GET comes, and answers it from the write that follows. For an upgrade, the new output is set
/// first and the pending write completes with 0: the frames are written to the new one.
/// </remarks>
internal interface IFrameOutput
{
    /// <summary>Writes encoded frames, from the start of the first.</summary>
    /// <param name="frames">At least one byte; borrowed until the write completes.</param>
    /// <returns>
    /// Bytes written, always whole frames; 0 to be offered the frames again. An exception means that the connection is
    /// lost.
    /// </returns>
    ValueTask<int> WriteAsync(ReadOnlyMemory<byte> frames);

    /// <summary>Aborts the connection; a pending write fails. Thread-safe and idempotent.</summary>
    void Abort();
}
