namespace Dmb.Transport;

/// <summary>
/// Limits the reads that run inline on the thread that sees bytes arrive. A connection that exceeds its budget
/// continues on the thread pool, so one busy client cannot occupy an I/O thread.
/// </summary>
internal static class InlineReadBudget
{
    /// <summary>Consecutive inline reads of one connection on one thread.</summary>
    private const int ReadsMax = 32;

    /// <summary>A read of more bytes counts as several.</summary>
    private const int ReadBytes = 4_096;

    /// <summary>The connection that this thread read last.</summary>
    [ThreadStatic]
    private static object? _current;

    [ThreadStatic]
    private static int _reads;

    /// <summary>
    /// Counts a read; true when the budget is spent and the connection has to continue on the thread pool.
    /// </summary>
    /// <param name="connection">Identity of the connection.</param>
    /// <param name="bytes">Bytes of the previous read; reset to 0, so that they are counted once.</param>
    public static bool IsSpent(object connection, ref int bytes)
    {
        if (_current != connection)
        {
            // The thread serves another connection now: the budget starts anew.
            (_current, _reads) = (connection, 0);
        }

        _reads += 1 + (bytes / ReadBytes);
        bytes = 0;
        if (_reads < ReadsMax)
        {
            return false;
        }

        _current = null;
        return true;
    }
}
