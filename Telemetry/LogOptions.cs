using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Telemetry;

/// <summary>Settings of the log on standard output.</summary>
internal sealed class LogOptions
{
    [Description(
        "Form of the log lines: `text` for people, `json` for collectors, one object a line. Times are ISO 8601."
    )]
    [AllowedValues("text", "json")]
    public string Log { get; set; } = "text";
}
